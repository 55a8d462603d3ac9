// The management API: the only way this page reaches the broker.

/** An answer that is no success. `reason` is the broker's own sentence. */
export class ApiError extends Error {
  constructor(status, reason) {
    super(reason);
    this.status = status;
    this.reason = reason;
  }
}

let authorization = null;

/** The `Authorization` header of all later requests; null for none. */
export function authorizeWith(header) {
  authorization = header;
}

/** ``path`/api/queues/${vhost}/${name}` `` encodes each part, so that `/` in a name stays in the name. */
export function path(fixed, ...parts) {
  return fixed.reduce((whole, text, index) => whole + encodeURIComponent(parts[index - 1]) + text);
}

/** Sends a request and returns the answer's JSON; throws an `ApiError` for every refusal. */
export async function request(method, url, { body, query, signal, headers: extra } = {}) {
  const headers = { accept: "application/json", ...extra };
  if (authorization) headers.authorization = authorization;
  if (body !== undefined) headers["content-type"] = "application/json";
  // Without `omit` the browser would ask for a password itself at each 401.
  const answer = await fetch(withQuery(url, query), {
    method, headers, signal, credentials: "omit", cache: "no-store",
    body: body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body),
  });
  const text = await answer.text();
  if (!answer.ok) throw new ApiError(answer.status, reasonOf(answer, text));
  return text === "" ? null : JSON.parse(text);
}

function withQuery(url, query = {}) {
  const set = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return set.length === 0 ? url : `${url}?${new URLSearchParams(set)}`;
}

function reasonOf(answer, text) {
  try {
    const { reason, error } = JSON.parse(text);
    const sentence = typeof reason === "string" ? reason : reason === undefined ? error : JSON.stringify(reason);
    if (sentence) return String(sentence);
  } catch {
    // Not JSON: a proxy between the browser and the broker answered.
  }
  return `${answer.status} ${answer.statusText}`;
}

export const get = (url, options) => request("GET", url, options);
export const put = (url, body, options) => request("PUT", url, { ...options, body });
export const post = (url, body, options) => request("POST", url, { ...options, body });
export const remove = (url, options) => request("DELETE", url, options);
