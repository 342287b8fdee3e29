// What the start page adds: addresses as they are typed, and what happens while a server is examined.
const PAUSE = 200;

for (const form of document.querySelectorAll("form[data-encode]")) {
  const domain = form.elements.domain;
  const shown = form.querySelector("[data-encoded]");
  const trouble = form.querySelector("[data-trouble]");
  let timer;
  let asking;

  const show = (url, text) => {
    shown.hidden = !url;
    shown.querySelector("code").textContent = url ?? "";
    shown.querySelector("a").href = `/encode?${new URLSearchParams({ domain: domain.value })}`;
    trouble.textContent = text ?? "";
  };

  const ask = async () => {
    asking?.abort();
    asking = new AbortController();
    const typed = domain.value.trim();
    if (!typed) return show();
    try {
      const answer = await fetch(`/encode?${new URLSearchParams({ domain: typed })}`, {
        headers: { accept: "application/json" },
        signal: asking.signal,
      });
      const said = await answer.json();
      if (said.url) show(said.url);
      else show(null, said.detail ? `Not an address yet: ${said.detail}.` : "This domain needs an alias: the button says more.");
    } catch (error) {
      if (error.name !== "AbortError") show(null, "");
    }
  };

  domain.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(ask, PAUSE);
  });
  if (domain.value) ask();
}

// One step of an examination, as a row of the list.
function row({ title, tone, word, text }) {
  const item = document.createElement("li");
  const what = item.appendChild(document.createElement("div"));
  what.className = "what";
  const head = what.appendChild(document.createElement("h2"));
  head.textContent = `${title} `;
  const state = head.appendChild(document.createElement("span"));
  state.className = `state ${tone}`;
  state.textContent = word;
  what.appendChild(document.createElement("p")).textContent = text;
  return item;
}

// Calls `each` with what every event of a stream says.
async function events(body, each) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
    const parts = (rest + piece.value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) if (part.startsWith("data: ")) each(JSON.parse(part.slice(6)));
  }
}

for (const form of document.querySelectorAll("form[data-outlook]")) {
  const found = document.querySelector("[data-outlook-found]");
  const list = found.querySelector("ol");
  const status = found.querySelector("[role=status]");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    found.hidden = false;
    list.replaceChildren();
    status.textContent = "Asking…";
    try {
      const answer = await fetch(form.action, {
        method: "POST",
        headers: { accept: "text/event-stream" },
        body: new URLSearchParams(new FormData(form)),
      });
      if (!answer.ok || !answer.headers.get("content-type")?.startsWith("text/event-stream")) return form.submit();
      await events(answer.body, (step) => list.append(row(step)));
      status.textContent = "That is all.";
    } catch {
      status.textContent = "The connection to this gateway was lost. Try again.";
    }
    button.disabled = false;
  });
}
