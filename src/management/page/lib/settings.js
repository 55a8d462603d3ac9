// What the user chose for the whole page: virtual host, pace of refreshes, colours.

const VHOST = "leveret.vhost";
const PACE = "leveret.pace";
const THEME = "leveret.theme";

export const PACES = [2, 5, 15, 60, 0];

/** The virtual host whose objects lists show; null for all. */
export const vhost = () => sessionStorage.getItem(VHOST);

export function setVhost(name) {
  if (name === null) sessionStorage.removeItem(VHOST);
  else sessionStorage.setItem(VHOST, name);
}

/** Seconds between refreshes; 0 stands still. */
export function pace() {
  const stored = Number(localStorage.getItem(PACE) ?? 5);
  return PACES.includes(stored) ? stored : 5;
}

export const setPace = (seconds) => localStorage.setItem(PACE, seconds);

/** `light`, `dark`, or `system`. `theme.js` reads the same key before the first paint. */
export const theme = () => localStorage.getItem(THEME) ?? "system";

export function setTheme(name) {
  if (name === "system") {
    localStorage.removeItem(THEME);
    delete document.documentElement.dataset.theme;
  } else {
    localStorage.setItem(THEME, name);
    document.documentElement.dataset.theme = name;
  }
}
