// Convenience alone: every page works without it.
"use strict";
document.addEventListener("change", (event) => {
  const all = event.target.closest("input[data-all]");
  if (!all) return;
  for (const box of document.querySelectorAll(`input[name="${all.dataset.all}"]`)) box.checked = all.checked;
});
document.addEventListener("submit", (event) => {
  const button = event.target.querySelector("button:not([disabled])");
  if (button && event.target.method === "post") setTimeout(() => { button.disabled = true; }, 0);
});
