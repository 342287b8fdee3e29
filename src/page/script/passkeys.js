// Passkeys: asks for a challenge, lets the authenticator answer it, and sends the answer with the form around the button.
// Everything else on these pages works without a script.
const bytes = (text) =>
  Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (character) => character.charCodeAt(0));
const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const withBytes = (descriptor) => ({ ...descriptor, id: bytes(descriptor.id) });

async function create(options) {
  const { response } = await navigator.credentials.create({
    publicKey: {
      ...options,
      challenge: bytes(options.challenge),
      user: withBytes(options.user),
      excludeCredentials: options.excludeCredentials.map(withBytes),
    },
  });
  return { clientDataJSON: text(response.clientDataJSON), attestationObject: text(response.attestationObject) };
}

async function get(options) {
  const { rawId, response } = await navigator.credentials.get({
    publicKey: { ...options, challenge: bytes(options.challenge) },
  });
  return {
    id: text(rawId),
    clientDataJSON: text(response.clientDataJSON),
    authenticatorData: text(response.authenticatorData),
    signature: text(response.signature),
    userHandle: text(response.userHandle ?? new ArrayBuffer(0)),
  };
}

async function answer(form) {
  const { csrf_token: token, credential } = form.elements;
  const asked = await fetch(form.dataset.challenge, {
    method: "POST",
    body: new URLSearchParams({ csrf_token: token.value }),
  });
  // To the sign-in page, when the last sign-in was too long ago.
  if (asked.redirected) return location.assign(asked.url);
  if (!asked.ok) throw new Error(`the gateway answered ${asked.status}`);
  const options = await asked.json();
  credential.value = JSON.stringify(await (form.dataset.passkey === "create" ? create : get)(options));
  form.submit();
}

for (const form of document.querySelectorAll("form[data-passkey]")) {
  const button = form.querySelector("button");
  const trouble = form.querySelector("[role=status]");
  if (!window.PublicKeyCredential) {
    trouble.textContent = "This browser cannot use passkeys.";
    continue;
  }
  button.disabled = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    button.disabled = true;
    trouble.textContent = "";
    answer(form).catch((error) => {
      button.disabled = false;
      const known = error.name === "InvalidStateError";
      trouble.textContent = known ? "This device has a passkey for this account already." : "That did not work. Try again.";
    });
  });
}
