// The token: from the link's fragment (never sent to a server) or typed, kept for this tab alone.

const TOKEN = "holter.token";
const NAME = "holter.name";

export const session = {
  may: [],
  get token() { return sessionStorage.getItem(TOKEN) ?? ""; },
  set token(value) { sessionStorage.setItem(TOKEN, value); },
  get name() { return sessionStorage.getItem(NAME) ?? ""; },
  set name(value) { sessionStorage.setItem(NAME, value); },
  forget() {
    sessionStorage.removeItem(TOKEN);
    sessionStorage.removeItem(NAME);
    this.may = [];
  },
};

/** Take the token out of the address, so that it is in no bookmark and no screenshot. */
export function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    session.token = given;
    history.replaceState(null, "", location.pathname);
  }
}

/** Ask the server; throws an Error whose message is for people, with `status`. */
export async function ask(path, { token = session.token, body } = {}) {
  const headers = { Authorization: `Bearer ${token}` };
  if (body) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), cache: "no-store" });
  } catch {
    throw Object.assign(new Error("no connection to the console: try again"), { status: 0 });
  }
  if (!answer.ok) {
    const said = await answer.json().catch(() => ({}));
    throw Object.assign(new Error(said.error ?? `answer ${answer.status}`), { status: answer.status });
  }
  return answer;
}
