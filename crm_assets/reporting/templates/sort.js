// Sorts a table by the column whose name is clicked; a second click turns the order around.
"use strict";
const marks = { "✓": 1, "✗": 0 };
const order = new Intl.Collator("en", { numeric: true });
function valueOf(cell) {
  const text = cell.textContent.trim();
  if (!cell.matches(".figure, .heat")) return text;
  if (text in marks) return marks[text];
  const found = /^[<>]?([−+]?[\d.,]+)(%?)/.exec(text);
  if (!found) return -Infinity;
  const number = Number(found[1].replace(/[,+]/g, "").replace("−", "-"));
  return found[2] ? number / 100 : number;
}
function compare(a, b) {
  return typeof a === "string" ? order.compare(a, b) : a === b ? 0 : a - b;
}
for (const button of document.querySelectorAll("table.sortable thead button")) {
  button.addEventListener("click", () => {
    const header = button.closest("th"), body = header.closest("table").tBodies[0];
    const descending = header.getAttribute("aria-sort") === "ascending";
    const rows = Array.from(body.rows, (row) => [valueOf(row.cells[header.cellIndex]), row]);
    rows.sort((a, b) => (descending ? compare(b[0], a[0]) : compare(a[0], b[0])));
    for (const other of header.parentElement.cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", descending ? "descending" : "ascending");
    body.append(...rows.map((row) => row[1]));
  });
}
