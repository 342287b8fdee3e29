// What the activity pages add: values under the pointer, figures that stay fresh, and the log as it grows.
const RECENT = 15 * 60 * 1000;
const MOST_LINES = 200;
let touched = Date.now();
for (const kind of ["pointermove", "keydown"]) addEventListener(kind, () => (touched = Date.now()), { passive: true });

// All plots show the same moment: under the pointer, or where the slider is.
function explain(figures) {
  const rows = figures.querySelectorAll("#values tbody tr");
  const slider = figures.querySelector("#moment");
  if (!rows.length || !slider) return;
  const heads = [...figures.querySelectorAll("#values thead th")].map((head) => head.textContent);
  const label = slider.parentElement.querySelector("b");
  const values = [...figures.querySelectorAll("[data-column]")].map((place) => [place, place.textContent]);
  const cursors = figures.querySelectorAll(".cursor");
  const show = (step) => {
    const cells = step < rows.length ? [...rows[step].cells].map((cell) => cell.textContent) : undefined;
    for (const [place, whole] of values) place.textContent = cells ? cells[place.dataset.column] : whole;
    for (const cursor of cursors) {
      cursor.setAttribute("x", step);
      cursor.setAttribute("visibility", cells ? "visible" : "hidden");
    }
    label.textContent = cells ? cells[0] : "the whole range";
    const said = cells ? cells.slice(1).map((cell, at) => `${heads[at + 1]} ${cell}`) : [];
    slider.setAttribute("aria-valuetext", [label.textContent, ...said].join(", "));
  };
  slider.parentElement.hidden = false;
  slider.addEventListener("input", () => show(Number(slider.value)));
  show(Number(slider.value));
  for (const frame of figures.querySelectorAll("svg.frame")) {
    frame.addEventListener("pointermove", (event) => {
      const box = frame.getBoundingClientRect();
      show(Math.max(0, Math.min(rows.length - 1, Math.floor(((event.clientX - box.left) / box.width) * rows.length))));
    });
    frame.addEventListener("pointerleave", () => show(Number(slider.value)));
  }
}

// Fetched again as long as somebody is there: a page that was left open must not keep its session alive.
async function refresh(figures) {
  const busy = figures.contains(document.activeElement) || figures.matches(":hover") || figures.querySelector("details[open]");
  if (document.hidden || busy || Date.now() - touched > RECENT) return figures;
  const answer = await fetch(location.href, { redirect: "error" });
  if (!answer.ok) return figures;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("#figures");
  if (!fresh) return figures;
  figures.replaceWith(fresh);
  explain(fresh);
  return fresh;
}

let figures = document.querySelector("#figures");
if (figures) {
  explain(figures);
  setInterval(async () => (figures = await refresh(figures).catch(() => figures)), Number(figures.dataset.refresh) * 1000);
}

function lineOf(told) {
  const line = document.querySelector("#line").content.firstElementChild.cloneNode(true);
  line.dataset.number = told.number;
  const time = line.querySelector("time");
  time.dateTime = told.at;
  time.textContent = told.at.slice(0, 19).replace("T", " ");
  for (const [name, part] of Object.entries(told.parts)) {
    const place = line.querySelector(`[data-part="${name}"]`);
    (place.querySelector("bdi, code") ?? place).textContent = part.text;
    const around = line.querySelector(`[data-of="${name}"]`);
    if (around) around.hidden = !part.text;
    if (part.address) place.href = part.address;
  }
  return line;
}

// The log grows at its top until somebody stops it; a browser that lost the way is told from where it left off.
function follow(log) {
  const control = document.querySelector(".live");
  const [state, button] = control.children;
  let source;
  let last = log.firstElementChild?.dataset.number;
  const begin = () => {
    const address = new URL(log.dataset.stream, location);
    if (last) address.searchParams.set("after", last);
    source = new EventSource(address);
    source.onopen = () => (state.textContent = "Live");
    source.onerror = () => {
      const over = source.readyState === EventSource.CLOSED;
      state.textContent = over ? "Not live any more: reload the page to go on" : "Connecting again";
      if (over) end();
    };
    source.addEventListener("skipped", () => (state.textContent = "Live; some lines were too many and are left out here"));
    source.onmessage = (event) => {
      const told = JSON.parse(event.data);
      last = told.number;
      document.querySelector("#none").hidden = true;
      log.prepend(lineOf(told));
      if (log.children.length > MOST_LINES) log.lastElementChild.remove();
    };
    button.textContent = "Pause";
  };
  const end = () => {
    source.close();
    source = undefined;
    button.textContent = "Go on";
  };
  button.addEventListener("click", () => {
    if (!source) return begin();
    end();
    state.textContent = "Paused";
  });
  addEventListener("pagehide", () => source?.close());
  addEventListener("pageshow", (event) => event.persisted && source && begin());
  control.hidden = false;
  begin();
}

const log = document.querySelector("[data-stream]");
if (log) follow(log);
