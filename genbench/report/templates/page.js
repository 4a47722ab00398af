"use strict";

const root = document.documentElement;

// Theme: what the system says, until the reader says otherwise.
const theme = document.getElementById("theme");
const system = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
const nameTheme = () => {
  theme.textContent = isDark() ? "Light colours" : "Dark colours";
};
theme.addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  nameTheme();
});
system.addEventListener("change", nameTheme);
nameTheme();
theme.hidden = false;

// Sorting: rows without a value come last either way; rows that are level keep their order.
const keyOf = (row, column) => {
  const cell = row.cells[column];
  if (column === 0) return cell.textContent.trim();
  return "key" in cell.dataset ? Number(cell.dataset.key) : null;
};
const compared = (a, b) => (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b);
const sort = (button) => {
  const heading = button.closest("th");
  const body = button.closest("table").tBodies[0];
  const now = heading.getAttribute("aria-sort");
  const way = now ? { ascending: "descending", descending: "ascending" }[now] : button.dataset.first;
  for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", way);
  const keyed = Array.from(body.rows, (row) => ({ row, key: keyOf(row, heading.cellIndex) }));
  keyed.sort((a, b) => {
    if (a.key === null || b.key === null) return (a.key === null) - (b.key === null);
    return way === "ascending" ? compared(a.key, b.key) : compared(b.key, a.key);
  });
  body.append(...keyed.map(({ row }) => row));
};
for (const button of document.querySelectorAll("button.sort")) {
  button.addEventListener("click", () => sort(button));
  button.disabled = false;
}

for (const words of document.querySelectorAll(".scripted")) words.hidden = false;

// Choosing runs: those left out lose their pictures and their details.
const choose = (chooser) => {
  const boxes = [...chooser.querySelectorAll("input")];
  for (const box of boxes) {
    for (const part of document.querySelectorAll(`[data-of="${box.value}"]`)) part.hidden = !box.checked;
  }
  const chosen = boxes.filter((box) => box.checked).length;
  chooser.querySelector("output").value = chosen === boxes.length ? `all ${chosen}` : `${chosen} of ${boxes.length}`;
};
for (const chooser of document.querySelectorAll(".chooser")) {
  chooser.addEventListener("change", () => choose(chooser));
  for (const button of chooser.querySelectorAll("button")) {
    button.addEventListener("click", () => {
      for (const box of chooser.querySelectorAll("input")) box.checked = button.dataset.all === "on";
      choose(chooser);
    });
  }
  chooser.hidden = false;
}

// A link to a run opens its details.
const open = () => {
  const target = document.getElementById(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) {
    target.hidden = false;
    target.open = true;
    target.scrollIntoView();
  }
};
addEventListener("hashchange", open);
open();
