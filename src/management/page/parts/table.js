// A table whose rows stay in place while their values change, so that focus and selection survive a refresh.

import { el, show } from "../lib/dom.js";
import { plain } from "../lib/format.js";

/**
 * A column: `title`; `value(row)`, whose change renders the cell anew; `cell(row)` renders it, by default the value's
 * text; `kind` is `number`, `name` or `actions`; `sort` is the API's name of the field; `narrow: false` hides it on a phone.
 * @typedef {{title: string, value: (row: object) => unknown, cell?: (row: object) => (Node|string), kind?: string, sort?: string, narrow?: boolean}} Column
 */

/** A page never draws more rows than these. */
const ROWS_MAX = 500;

export class Table {
  /**
   * @param {{caption: string, columns: Column[], key: (row: object) => string, empty: string, onsort?: (field: string) => void}} options
   * `key` names a row; the first column is each row's header.
   */
  constructor({ caption, columns, key, empty, onsort }) {
    this.columns = columns;
    this.key = key;
    this.rows = new Map();
    this.headers = columns.map((column) => this.#header(column, onsort));
    this.body = el("tbody");
    this.nothing = el("div", { class: "empty", hidden: true }, empty);
    this.more = el("div", { class: "empty", hidden: true });
    this.table = el("table", {}, el("caption", {}, caption), el("thead", {}, el("tr", {}, this.headers)), this.body);
    this.element = el("div", { class: "table", role: "group", "aria-label": caption, tabindex: 0 }, this.table, this.nothing, this.more);
  }

  #header(column, onsort) {
    const sortable = column.sort && onsort;
    const title = sortable ? el("button", { type: "button", onclick: () => onsort(column.sort) }, column.title) : column.title;
    return el("th", { scope: "col", class: classes(column) }, column.kind === "actions" ? el("span", { class: "unseen" }, title) : title);
  }

  /** Marks the column by which the rows are sorted. */
  showSort(field, reverse) {
    this.columns.forEach((column, index) => {
      if (field && column.sort === field) this.headers[index].setAttribute("aria-sort", reverse ? "descending" : "ascending");
      else this.headers[index].removeAttribute("aria-sort");
    });
  }

  /** Shows these rows, in this order. */
  update(all) {
    const rows = all.slice(0, ROWS_MAX);
    this.more.hidden = all.length <= ROWS_MAX;
    this.more.textContent = `${all.length - ROWS_MAX} more are not shown.`;
    const before = this.rows;
    this.rows = new Map();
    const elements = rows.map((row) => {
      const key = this.key(row);
      const known = before.get(key) ?? { element: el("tr"), values: [] };
      this.#fill(known, row);
      this.rows.set(key, known);
      return known.element;
    });
    const same = elements.length === this.body.children.length && elements.every((element, index) => element === this.body.children[index]);
    if (!same) show(this.body, elements);
    this.nothing.hidden = rows.length > 0;
    this.table.hidden = rows.length === 0;
  }

  #fill(known, row) {
    this.columns.forEach((column, index) => {
      const value = JSON.stringify(column.value(row)) ?? "";
      if (known.values[index] === value) return;
      known.values[index] = value;
      const cell = index === 0 ? el("th", { scope: "row" }) : el("td");
      const name = classes(column);
      if (name) cell.className = name;
      show(cell, column.cell ? column.cell(row) : plain(column.value(row)));
      const old = known.element.children[index];
      if (old) old.replaceWith(cell);
      else known.element.append(cell);
    });
  }
}

function classes(column) {
  return [column.kind, column.narrow === false ? "narrow-out" : null].filter(Boolean).join(" ") || null;
}

/** A column of numbers. A zero is pale, so that what moves stands out. */
export function numbers(title, value, format, rest = {}) {
  return { title, value, kind: "number", cell: (row) => pale(value(row), format), ...rest };
}

function pale(value, format) {
  return value ? format(value) : el("span", { class: "zero" }, format(value));
}

/** A column of buttons. */
export function actions(cell, value = () => 0) {
  return { title: "Actions", value, kind: "actions", cell };
}
