// The frame around all pages: bar with the choices for the whole page, navigation, main.

import { el } from "../lib/dom.js";
import { href } from "../lib/router.js";
import { user } from "../lib/session.js";
import { PACES, pace, setPace, setTheme, setVhost, theme, vhost } from "../lib/settings.js";

const THEMES = [["system", "System"], ["light", "Light"], ["dark", "Dark"]];

/**
 * @param pages those that the user may open; `onchange` is called when a choice changes what pages show
 * @returns `{element, main, mark(name)}`
 */
export function frame({ pages, overview, vhosts, onchange, onlogout }) {
  const main = el("main", { id: "main", tabindex: -1 });
  const links = pages.map(({ name, title }) => [name, el("a", { href: href(name) }, title)]);
  const side = el("div", { class: "side", id: "side" }, el("div", { class: "stick" }, el("nav", { "aria-label": "Pages" }, links.map(([, link]) => link)), settings(onchange)));
  const menu = el("button", { type: "button", class: "menu-button", "aria-expanded": "false", "aria-controls": "side", onclick: () => open(!side.classList.contains("open")) }, "Menu");
  const open = (opened) => {
    side.classList.toggle("open", opened);
    menu.setAttribute("aria-expanded", String(opened));
  };
  const bar = el("header", { class: "bar" }, menu,
    el("a", { class: "brand", href: href("overview") }, el("img", { src: "icon.svg", alt: "" }), "Leveret"),
    el("span", { class: "where" }, [overview.cluster_name ?? overview.node, overview.product_version].filter(Boolean).join(" · ")),
    el("span", { class: "grow" }), choiceOfVhost(vhosts, onchange),
    el("span", { class: "where" }, user.name), el("button", { type: "button", onclick: onlogout }, "Log out"));
  const skip = el("a", { class: "skip", href: "#main", onclick: (event) => { event.preventDefault(); main.focus(); } }, "Skip to the content");
  const mark = (name) => {
    open(false);
    for (const [page, link] of links) {
      if (page === name) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  };
  return { element: el("div", {}, skip, bar, el("div", { class: "frame" }, side, main)), main, mark };
}

function choiceOfVhost(vhosts, onchange) {
  const chosen = vhosts.includes(vhost()) ? vhost() : null;
  setVhost(chosen);
  // The name of a virtual host may be any text, so "all of them" is known by its place in the list.
  const hosts = el("select", { onchange: () => { setVhost(vhosts[hosts.selectedIndex - 1] ?? null); onchange(); } },
    el("option", {}, "All"), vhosts.map((name) => el("option", { selected: name === chosen }, name)));
  return labelled("Virtual host", hosts);
}

function settings(onchange) {
  const paces = el("select", { onchange: () => { setPace(paces.value); onchange(); } },
    PACES.map((seconds) => el("option", { value: seconds, selected: seconds === pace() }, seconds === 0 ? "Never" : `${seconds} s`)));
  const colours = el("select", { onchange: () => setTheme(colours.value) },
    THEMES.map(([name, title]) => el("option", { value: name, selected: name === theme() }, title)));
  return el("aside", { class: "settings", "aria-label": "Settings" }, labelled("Refresh", paces), labelled("Colours", colours));
}

function labelled(text, select) {
  select.setAttribute("aria-label", text);
  return el("label", {}, el("span", { class: "label-text" }, text), select);
}
