// Shows the same frame before and after; a slider divides them.
const place = document.getElementById("compare");
const [before, after] = [place.querySelector(".before"), place.querySelector(".after")];
const [split, frame] = [place.querySelector("[name=split]"), place.querySelector("[name=frame]")];

function showFrame() {
  before.src = place.dataset.before + frame.value;
  after.src = place.dataset.after + frame.value;
}

function showSplit() {
  before.style.clipPath = `inset(0 ${100 - split.value}% 0 0)`;
}

split.addEventListener("input", showSplit);
frame.addEventListener("input", showFrame);
showSplit();
showFrame();
