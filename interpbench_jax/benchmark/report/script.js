"use strict";
(() => {
  const value = (row, column) => {
    const cell = row.children[column];
    const v = cell.dataset.v;
    if (v !== undefined && v !== "") return Number(v);
    return cell.classList.contains("n") ? null : cell.textContent.trim();
  };
  const compare = (a, b) =>
    typeof a === "number" && typeof b === "number"
      ? a - b
      : String(a).localeCompare(String(b), undefined, { numeric: true });

  // Numbers begin with the largest; what has no value stays last.
  const sort = (table, column) => {
    const head = table.tHead.rows[0].children[column];
    const numeric = head.classList.contains("n");
    const now = head.getAttribute("aria-sort");
    const next = now === null ? (numeric ? "descending" : "ascending")
      : now === "descending" ? "ascending" : "descending";
    for (const other of table.tHead.rows[0].children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", next);
    const sign = next === "ascending" ? 1 : -1;
    const rows = [...table.tBodies[0].rows].map((row) => [value(row, column), row]);
    rows.sort(([a], [b]) => (a === null) - (b === null) || sign * compare(a, b));
    table.tBodies[0].append(...rows.map(([, row]) => row));
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].children].forEach((head, column) =>
      head.querySelector("button").addEventListener("click", () => sort(table, column)));
  }

  const filter = (id) => {
    const inputs = [...document.querySelectorAll(`[data-filters="${id}"]`)];
    const wanted = inputs.map((input) => {
      const text = input.type === "checkbox" && !input.checked ? "" : input.value.trim();
      const column = input.dataset.column;
      return (row) => text === "" || (column ? row.dataset[column] === text
        : row.textContent.toLowerCase().includes(text.toLowerCase()));
    });
    const rows = [...document.getElementById(id).tBodies[0].rows];
    for (const row of rows) row.hidden = !wanted.every((wants) => wants(row));
    const shown = rows.filter((row) => !row.hidden).length;
    for (const output of document.querySelectorAll(`[data-counts="${id}"]`))
      output.textContent = shown === rows.length ? `${shown} rows` : `${shown} of ${rows.length} rows`;
  };
  const ids = new Set();
  for (const input of document.querySelectorAll("[data-filters]")) {
    ids.add(input.dataset.filters);
    input.addEventListener("input", () => filter(input.dataset.filters));
  }
  ids.forEach(filter);

  const board = document.getElementById("board");
  const every = document.getElementById("all-columns");
  const columns = () => board.classList.toggle("all", every.checked);
  if (board) {
    every.addEventListener("input", columns);
    columns();
  }

  // A shadow where columns are beyond the edge.
  const wide = [...document.querySelectorAll(".scroll, .plots figure")];
  const edge = (box) => box.classList.toggle(
    "cut", box.scrollWidth - box.clientWidth - box.scrollLeft > 2);
  const watched = new ResizeObserver((seen) => seen.forEach(({ target }) =>
    edge(target.closest(".scroll, .plots figure"))));
  for (const box of wide) {
    box.addEventListener("scroll", () => edge(box));
    watched.observe(box);
    watched.observe(box.querySelector("table, svg:not(.key)"));
  }

  const shade = () => {
    for (const cell of document.querySelectorAll("td.h"))
      cell.classList.toggle("strong", Number(cell.dataset.v) > 0.9);
  };
  const score = document.getElementById("heat-score");
  score.addEventListener("input", () => {
    for (const cell of document.querySelectorAll("td.h")) {
      const text = cell.dataset.all.split("|")[Number(score.value)];
      cell.dataset.v = text;
      cell.textContent = text;
      cell.style.setProperty("--v", text || 0);
    }
    shade();
  });
  shade();

  const cases = [...document.querySelectorAll("details.case")];
  document.getElementById("open-all").addEventListener("click", () => cases.forEach((c) => { c.open = true; }));
  document.getElementById("close-all").addEventListener("click", () => cases.forEach((c) => { c.open = false; }));
  const open = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    if (target && target.matches("details")) {
      target.open = true;
      target.scrollIntoView();
    }
  };
  addEventListener("hashchange", open);
  open();
})();
