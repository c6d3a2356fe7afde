// Chooses the overlays to remove: switches detected boxes off, draws boxes, paints a mask, sets times.
import { send, showProblem } from "/static/page.js";

const editor = document.getElementById("editor");
const { video, detection, choice } = Object.fromEntries(
  ["video", "detection", "choice"].map((name) => [name, JSON.parse(editor.dataset[name])]));
const api = `/api/uploads/${editor.dataset.id}`;
const [image, canvas, marks, list] = ["frame", "paint", "boxes", "overlays"].map((id) => document.getElementById(id));
const [frame, brush, times] = ["frame", "brush", "times"].map((name) => editor.querySelector(`[name=${name}]`));
const context = canvas.getContext("2d");

const isSame = (a, b) => ["x", "y", "width", "height"].every((name) => a[name] === b[name]);
const boxes = [
  ...(detection.overlays || []).map((found) => ({ ...found, own: false, on: !choice.skip.some((box) => isSame(box, found.box)) })),
  ...choice.boxes.map((box) => ({ box, own: true, on: true })),
];
let painted = choice.mask;

Object.assign(canvas, { width: video.width, height: video.height });
times.value = choice.times.map(({ start, end }) => `${start}-${end}`).join(", ");

function place(element, { x, y, width, height }) {
  Object.assign(element.style, {
    left: `${100 * x / video.width}%`, top: `${100 * y / video.height}%`,
    width: `${100 * width / video.width}%`, height: `${100 * height / video.height}%`,
  });
}

function describe({ box, own, label, times: shown }) {
  const name = own ? "Your box" : label || "Detected";
  const when = shown && shown.length ? `, ${shown.slice(0, 3).map(([a, b]) => `${a.toFixed(1)}-${b.toFixed(1)} s`).join(", ")}${shown.length > 3 ? ", ..." : ""}` : "";
  return ` ${name}: ${box.width}x${box.height} at ${box.x},${box.y}${when}`;
}

function showBoxes() {
  marks.replaceChildren(...boxes.map((entry) => {
    const mark = document.createElement("div");
    mark.className = `${entry.own ? "own" : ""} ${entry.on ? "" : "off"}`;
    place(mark, entry.box);
    return mark;
  }));
  list.replaceChildren(...boxes.map((entry) => {
    const [item, label, check] = ["li", "label", "input"].map((name) => document.createElement(name));
    Object.assign(check, { type: "checkbox", checked: entry.on });
    check.addEventListener("change", () => {
      entry.on = check.checked;
      showBoxes();
    });
    label.append(check, describe(entry));
    item.append(label);
    return item;
  }));
}

function showFrame() {
  image.src = `/uploads/${editor.dataset.id}/frames/${frame.value}`;
  const time = (detection.times || [])[frame.value];
  document.getElementById("frame-time").textContent = time === undefined ? "" : `${time.toFixed(2)} s`;
}

function readPoint(event) {
  const area = canvas.getBoundingClientRect();
  const within = (value, most) => Math.min(most, Math.max(0, value));
  return [
    within((event.clientX - area.left) * video.width / area.width, video.width),
    within((event.clientY - area.top) * video.height / area.height, video.height),
  ];
}

function makeBox([x0, y0], [x1, y1]) {
  const [x, y] = [Math.floor(Math.min(x0, x1)), Math.floor(Math.min(y0, y1))];
  return { x, y, width: Math.ceil(Math.max(x0, x1)) - x, height: Math.ceil(Math.max(y0, y1)) - y };
}

function paint(from, to, tool) {
  context.globalCompositeOperation = tool === "erase" ? "destination-out" : "source-over";
  Object.assign(context, { lineWidth: brush.value, lineCap: "round", strokeStyle: "#fff" });
  context.beginPath();
  context.moveTo(...from);
  context.lineTo(...to);
  context.stroke();
  painted = true;
}

canvas.addEventListener("pointerdown", (event) => {
  const tool = editor.querySelector("[name=tool]:checked").value;
  const start = readPoint(event);
  let last = start;
  canvas.setPointerCapture(event.pointerId);
  const ghost = document.createElement("div");
  ghost.className = "own";
  if (tool === "box") marks.append(ghost);
  const move = (moved) => {
    const point = readPoint(moved);
    if (tool === "box") place(ghost, makeBox(start, point));
    else paint(last, point, tool);
    last = point;
  };
  const stop = (ended) => {
    canvas.removeEventListener("pointermove", move);
    canvas.removeEventListener("pointerup", stop);
    canvas.removeEventListener("pointercancel", stop);
    move(ended);
    ghost.remove();
    const box = makeBox(start, last);
    if (tool === "box" && box.width > 1 && box.height > 1) boxes.push({ box, own: true, on: true });
    showBoxes();
  };
  canvas.addEventListener("pointermove", move);
  canvas.addEventListener("pointerup", stop);
  canvas.addEventListener("pointercancel", stop);
});

function readTimes() {
  if (!times.reportValidity()) throw new Error("Times are written as START-END in seconds, separated by commas.");
  return times.value.split(",").filter((part) => part.trim()).map((part) => {
    const [start, end] = part.split("-").map(Number);
    return { start, end };
  });
}

// Returns the painted mask as a PNG, white on transparent; null if nothing is painted.
async function readMask() {
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  if (!data.some((value, index) => index % 4 === 3 && value)) return null;
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

async function start(event) {
  event.target.disabled = true;
  try {
    const mask = painted ? await readMask() : null;
    if (mask) await send("PUT", `${api}/mask`, { body: mask, headers: { "Content-Type": "image/png" } });
    const body = JSON.stringify({
      skip: boxes.filter(({ own, on }) => !own && !on).map(({ box }) => box),
      boxes: boxes.filter(({ own, on }) => own && on).map(({ box }) => box),
      times: readTimes(),
      mask: mask !== null,
    });
    await send("PUT", `${api}/choice`, { body, headers: { "Content-Type": "application/json" } });
    await send("POST", `${api}/run`);
    location.reload();
  } catch (error) {
    showProblem(error.message);
    event.target.disabled = false;
  }
}

async function restoreMask() {
  const stored = new Image();
  stored.src = `/uploads/${editor.dataset.id}/mask`;
  await stored.decode();
  context.drawImage(stored, 0, 0);
}

editor.querySelector("[name=start]").addEventListener("click", start);
editor.querySelector("[name=clear]").addEventListener("click", () => {
  context.clearRect(0, 0, canvas.width, canvas.height);
  painted = false;
});
frame.addEventListener("input", showFrame);
showBoxes();
showFrame();
if (choice.mask) restoreMask().catch(() => showProblem("The painted mask cannot be shown."));
