// Addresses of pages: `#/queues/%2F/orders?tab=messages`. Parts are encoded one by one, as in the API's paths.

/** `href("queues", "/", "orders")` is `#/queues/%2F/orders`. */
export function href(...parts) {
  return `#/${parts.map(encodeURIComponent).join("/")}`;
}

/** The parts and the query of the present address. */
export function route() {
  const [address, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return { parts: address === "" ? [] : address.split("/").map(decode), query: new URLSearchParams(query) };
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Goes to another page, with an entry in the browser's history. */
export function go(...parts) {
  location.hash = href(...parts);
}

/** Puts the state of a list into the address, without a new entry and without opening the page again. */
export function setQuery(query) {
  const [address] = location.hash.split("?");
  const text = query.toString();
  history.replaceState(null, "", text === "" ? address : `${address}?${text}`);
}
