// Sends a file in pieces, by tus 1.0. An incomplete upload with the same name, size, flow and preset continues.
import { send, showProblem } from "/static/page.js";

const PIECE = 8 << 20;
const WAITS = [1, 2, 4, 8, 16, 30];
const TUS = { "Tus-Resumable": "1.0.0" };
const form = document.getElementById("upload");

function encode(text) {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}

function findIncomplete(file, flow, preset) {
  const rows = [...document.querySelectorAll("tr[data-state=receiving]")];
  const row = rows.find(({ dataset }) => dataset.name === file.name && Number(dataset.size) === file.size
    && dataset.flow === flow && dataset.preset === preset);
  return row && `/api/uploads/${row.dataset.id}`;
}

async function create(file, flow, preset) {
  const metadata = { filename: file.name, flow, preset };
  const response = await send("POST", "/api/uploads", { headers: { ...TUS,
    "Upload-Length": file.size,
    "Upload-Metadata": Object.entries(metadata).map(([key, value]) => `${key} ${encode(value)}`).join(","),
  } });
  return response.headers.get("Location");
}

function readOffset(response) {
  return Number(response.headers.get("Upload-Offset"));
}

function mayPass(status) {
  return [0, 408, 409, 423, 502, 503, 504].includes(status);
}

async function sendFile(file, address, show) {
  let failures = 0;
  for (;;) {
    try {
      let offset = readOffset(await send("HEAD", address, { headers: TUS }));
      show(offset);
      while (offset < file.size) {
        const headers = { ...TUS, "Upload-Offset": offset, "Content-Type": "application/offset+octet-stream" };
        offset = readOffset(await send("PATCH", address, { headers, body: file.slice(offset, offset + PIECE) }));
        failures = 0;
        show(offset);
      }
      return;
    } catch (error) {
      if (!mayPass(error.status) || failures >= WAITS.length) throw error;
      showProblem(`${error.message} Trying again.`);
      await new Promise((resume) => setTimeout(resume, 1000 * WAITS[failures++]));
      showProblem("");
    }
  }
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const file = form.elements.file.files[0];
  const flow = form.elements.flow.value;
  const preset = form.elements[`preset-${flow}`].value;
  const [bar, text, button] = [document.getElementById("sent"), document.getElementById("sent-text"), form.querySelector("button")];
  showProblem("");
  if (file.size > Number(form.dataset.maxSize)) return showProblem("The file is larger than this service accepts.");
  button.disabled = true;
  bar.hidden = false;
  try {
    const address = findIncomplete(file, flow, preset) || await create(file, flow, preset);
    await sendFile(file, address, (offset) => {
      bar.value = file.size ? offset / file.size : 1;
      text.textContent = offset < file.size ? `${Math.floor(100 * bar.value)} %` : "The file is being checked.";
    });
    location.assign(address.replace("/api", ""));
  } catch (error) {
    showProblem(error.message);
    button.disabled = false;
  }
});
