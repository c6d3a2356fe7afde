// Follows the state of an upload; loads the page again when it changes.
const place = document.getElementById("status");
const LASTING = ["done", "incomplete", "failed", "stopped", "refused"];
const compared = document.getElementById("compare") !== null;
const EVERY_MS = 1500;

function showProgress({ percent, stages }) {
  Object.assign(document.getElementById("percent"), { value: percent, hidden: !stages.length });
  document.getElementById("stages").replaceChildren(...stages.map((text) => {
    const item = document.createElement("li");
    item.textContent = text;
    return item;
  }));
}

async function look() {
  const response = await fetch(place.dataset.address).catch(() => null);
  if (!response) {
    document.getElementById("sentence").textContent = "The server does not answer. Nothing is lost.";
    return true;
  }
  if (response.status === 404) location.assign("/");
  if (!response.ok) return true;
  const status = await response.json();
  if (status.state !== place.dataset.state || (status.compared && !compared)) {
    location.reload();
    return false;
  }
  document.getElementById("sentence").textContent = status.sentence;
  showProgress(status);
  return !(LASTING.includes(status.state) && (status.compared || !status.has_result)) && status.state !== "ready";
}

async function watch() {
  if (await look()) setTimeout(watch, EVERY_MS);
}

setTimeout(watch, EVERY_MS);
