// A list that the broker filters, sorts and cuts into pages: however many objects there are, one page is fetched and drawn.

import { get } from "../lib/api.js";
import { el, freshId, show } from "../lib/dom.js";
import { count } from "../lib/format.js";
import { setQuery } from "../lib/router.js";
import { Table } from "./table.js";

const PAGE_SIZES = [25, 50, 100, 500];
const PAGE_SIZE = 50;
const TYPING_MS = 250;

export class List {
  /**
   * @param view the page; @param options those of `Table`, and `url()`, `columns` with `sort`; `fields`: what the API sends of
   * each object; `sort`: the order without a choice; `tools`: buttons beside the search; `prefix` tells the lists of one page apart.
   */
  constructor(view, options) {
    this.view = view;
    this.options = options;
    this.prefix = options.prefix ? `${options.prefix}.` : "";
    this.table = new Table({ ...options, onsort: (field) => this.#sort(field) });
    this.from = el("span", { role: "status" });
    this.pages = el("span");
    this.element = el("div", {}, this.#tools(options), this.table.element, this.#pager());
  }

  /** Fetches and draws the present page. */
  async load(signal) {
    const asked = {
      page: this.#get("page") ?? 1, page_size: this.#get("size") ?? PAGE_SIZE, name: this.#get("name"), use_regex: this.#get("regex") ? "true" : "false",
      sort: this.#get("sort") ?? this.options.sort, sort_reverse: this.#get("reverse") ? "true" : null, pagination: "true", columns: this.options.fields?.join(","),
    };
    let answer;
    try {
      answer = await get(this.options.url(), { query: asked, signal });
    } catch (error) {
      // A page behind the last one: objects went away since it was opened.
      if (error.status !== 400 || this.#get("page") === null) throw error;
      this.#put({ page: null });
      answer = await get(this.options.url(), { query: { ...asked, page: 1 }, signal });
    }
    this.#draw(Array.isArray(answer) ? wholeList(answer, asked) : answer);
  }

  #draw(answer) {
    this.answer = answer;
    this.table.showSort(this.#get("sort") ?? this.options.sort, this.#get("reverse") !== null);
    this.table.update(answer.items);
    const first = (answer.page - 1) * answer.page_size;
    const found = answer.filtered_count === answer.total_count ? "" : ` (of ${count(answer.total_count)})`;
    show(this.from, answer.items.length === 0 ? `0${found}` : `${count(first + 1)}–${count(first + answer.items.length)} of ${count(answer.filtered_count)}${found}`);
    show(this.pages, `Page ${count(answer.page)} of ${count(Math.max(answer.page_count, 1))}`);
    this.back.disabled = answer.page <= 1;
    this.next.disabled = answer.page >= answer.page_count;
  }

  /** A choice that stands in the page's address: null without one. */
  #get(name) {
    return this.view.route.query.get(this.prefix + name);
  }

  #put(changes) {
    const query = this.view.route.query;
    for (const [name, value] of Object.entries(changes)) {
      if (value === null || value === "") query.delete(this.prefix + name);
      else query.set(this.prefix + name, value);
    }
    setQuery(query);
  }

  #set(changes) {
    this.#put(changes);
    this.view.refresh();
  }

  /** The first click on a column sorts; numbers begin with the largest. The second reverses. */
  #sort(field) {
    const present = this.#get("sort") ?? this.options.sort;
    const column = this.options.columns.find((one) => one.sort === field);
    const reverse = present === field ? this.#get("reverse") === null : column.kind === "number";
    this.#set({ sort: field, reverse: reverse ? "1" : null, page: null });
  }

  #tools({ searchLabel = "Search by name", tools = [] }) {
    const id = freshId();
    let timer;
    const later = (changes) => {
      clearTimeout(timer);
      timer = setTimeout(() => this.#set({ ...changes, page: null }), TYPING_MS);
    };
    const search = el("input", { type: "search", placeholder: searchLabel, "aria-label": searchLabel, value: this.#get("name"), oninput: () => later({ name: search.value }) });
    const regex = el("input", { type: "checkbox", id, checked: this.#get("regex") !== null, onchange: () => this.#set({ regex: regex.checked ? "1" : null, page: null }) });
    return el("div", { class: "tools" }, el("div", { class: "search" }, search), el("label", { class: "check", for: id }, regex, "Regular expression"), el("span", { class: "grow" }), tools);
  }

  #pager() {
    const turn = (by) => () => this.#set({ page: String(this.answer.page + by) });
    this.back = el("button", { type: "button", onclick: turn(-1), disabled: true }, "← Previous");
    this.next = el("button", { type: "button", onclick: turn(1), disabled: true }, "Next →");
    const present = Number(this.#get("size") ?? PAGE_SIZE);
    const size = el("select", { onchange: () => this.#set({ size: size.value, page: null }) }, PAGE_SIZES.map((rows) => el("option", { value: rows, selected: rows === present }, String(rows))));
    return el("div", { class: "pager" }, this.from, el("span", { class: "grow" }), el("label", {}, "Rows", size), this.back, this.pages, this.next);
  }
}

/** Does for a list that the API sends whole what the broker does for the others. */
function wholeList(all, asked) {
  const text = (asked.name ?? "").toLowerCase();
  const matches = asked.use_regex === "true" && text !== "" ? matcher(asked.name) : (name) => name.toLowerCase().includes(text);
  const found = all.filter((row) => matches(String(row.name ?? row.user ?? "")));
  const size = Number(asked.page_size);
  const pageCount = Math.max(1, Math.ceil(found.length / size));
  const page = Math.min(Number(asked.page), pageCount);
  const field = (row) => asked.sort.split(".").reduce((value, part) => value?.[part], row) ?? "";
  const sign = asked.sort_reverse ? -1 : 1;
  if (asked.sort) found.sort((a, b) => sign * compare(field(a), field(b)));
  return { items: found.slice((page - 1) * size, page * size), page, page_count: pageCount, page_size: size, filtered_count: found.length, total_count: all.length };
}

function matcher(pattern) {
  try {
    const expression = new RegExp(pattern, "i");
    return (name) => expression.test(name);
  } catch {
    return () => false;
  }
}

function compare(a, b) {
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
}
