// Buttons that change something: <button data-method data-address [data-confirm] [data-next]>.
const token = document.querySelector("meta[name=csrf-token]").content;

export function showProblem(sentence) {
  const place = document.getElementById("problem");
  place.textContent = sentence;
  place.hidden = !sentence;
}

// Sends a request as a page of this service. Returns the response; throws an Error with the server's sentence.
export async function send(method, address, options = {}) {
  let response;
  try {
    response = await fetch(address, { method, ...options, headers: { "X-CSRF-Token": token, ...options.headers } });
  } catch {
    throw Object.assign(new Error("The server does not answer. Nothing is lost: try again."), { status: 0 });
  }
  if (response.ok) return response;
  const answer = await response.json().catch(() => ({}));
  const sentence = typeof answer.detail === "string" ? answer.detail : `The server answered ${response.status}.`;
  throw Object.assign(new Error(sentence), { status: response.status });
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-address]");
  if (!button || (button.dataset.confirm && !confirm(button.dataset.confirm))) return;
  button.disabled = true;
  try {
    await send(button.dataset.method, button.dataset.address);
    if (button.dataset.next) location.assign(button.dataset.next);
    else location.reload();
  } catch (error) {
    showProblem(error.message);
    button.disabled = false;
  }
});
