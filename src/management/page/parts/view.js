// One open page: its place on the screen, its refreshes, and what it says when the broker refuses.

import { ApiError } from "../lib/api.js";
import { el, show } from "../lib/dom.js";
import { go } from "../lib/router.js";
import { pace } from "../lib/settings.js";
import { toast } from "./notice.js";

export class View {
  /** @param main the element to fill; `onUnauthorized` is called when the broker no longer knows the user. */
  constructor(main, route, onUnauthorized) {
    this.route = route;
    this.onUnauthorized = onUnauthorized;
    this.problem = el("div", { role: "alert", class: "notice danger", hidden: true });
    this.content = el("div");
    this.ending = new AbortController();
    this.tasks = [];
    show(main, this.problem, this.content);
  }

  /** Ends the requests and refreshes of the page. */
  close() {
    this.ending.abort();
    clearTimeout(this.timer);
  }

  /** Goes to another page: what this one shows is gone. */
  leave(...parts) {
    this.close();
    go(...parts);
  }

  get signal() {
    return this.ending.signal;
  }

  show(...children) {
    show(this.content, ...children);
  }

  /** Adds work for each refresh, and does it now. */
  async keep(task) {
    this.tasks.push(task);
    const error = await attempt(task, this.signal);
    if (error && !this.signal.aborted) this.#explain(error);
    this.schedule();
  }

  /** Does all work of a refresh now. A refresh that is still under way ends, so that old answers never replace new ones. */
  async refresh() {
    this.round?.abort();
    const round = (this.round = new AbortController());
    const signal = AbortSignal.any([this.signal, round.signal]);
    const errors = await Promise.all(this.tasks.map((task) => attempt(task, signal)));
    if (signal.aborted) return;
    const error = errors.find(Boolean);
    if (error) this.#explain(error);
    else this.problem.hidden = true;
    this.schedule();
  }

  /** Plans the next refresh. A hidden page waits until it is seen. */
  schedule() {
    clearTimeout(this.timer);
    if (pace() === 0 || this.signal.aborted) return;
    this.timer = setTimeout(() => (document.hidden ? this.schedule() : this.refresh()), pace() * 1000);
  }

  #explain(error) {
    if (error instanceof ApiError && error.status === 401) this.onUnauthorized();
    this.problem.textContent = error instanceof ApiError ? `Refused: ${error.reason}` : unreachable(error);
    this.problem.hidden = false;
  }

  /** Does what a button asks for, says how it went, and refreshes, not meanwhile. Returns whether it succeeded. */
  async act(success, action) {
    clearTimeout(this.timer);
    this.round?.abort();
    try {
      await action();
    } catch (error) {
      toast(error instanceof ApiError ? error.reason : unreachable(error), "danger");
      this.schedule();
      return false;
    }
    if (success) toast(success, "good");
    if (!this.signal.aborted) await this.refresh();
    return true;
  }
}

async function attempt(task, signal) {
  try {
    await task(signal);
    return null;
  } catch (error) {
    return error;
  }
}

function unreachable(error) {
  return error instanceof TypeError && /fetch/i.test(error.message) ? "The broker does not answer." : String(error.message ?? error);
}
