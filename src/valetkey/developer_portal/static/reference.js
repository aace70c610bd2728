// The API reference's Authorize button and its calls. The token is in a variable of this page and nowhere else.
"use strict";

const server = document.getElementById("reference").dataset;
const waitingKey = "valetkey-docs"; // what must outlive the way to the consent page: the verifier, never a token
const shownFields = [
  "content-type", "ratelimit-policy", "ratelimit", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset",
  "retry-after", "www-authenticate", "location", "link", "etag", "deprecation", "sunset", "idempotent-replayed", "request-id",
];
let token = null;
let expiry = 0;

const find = (id) => document.getElementById(id);

function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function random() {
  return base64url(crypto.getRandomValues(new Uint8Array(32)));
}

function tellProblem(words) {
  const problem = find("authorize-problem");
  problem.textContent = words;
  problem.hidden = !words;
}

// RFC 7636 §4.1: the verifier stays here, its hash goes to the consent page.
async function authorize(event) {
  event.preventDefault();
  const scopes = [...document.querySelectorAll("#authorize-form [name=scope]:checked")].map((box) => box.value);
  const waiting = { verifier: random(), state: random(), at: location.hash };
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(waiting.verifier));
  sessionStorage.setItem(waitingKey, JSON.stringify(waiting));
  const asked = new URLSearchParams({
    response_type: "code",
    client_id: server.clientId,
    redirect_uri: server.redirectUri,
    state: waiting.state,
    code_challenge: base64url(new Uint8Array(digest)),
    code_challenge_method: "S256",
  });
  if (scopes.length) asked.set("scope", scopes.join(" "));
  if (server.resource) asked.set("resource", server.resource);
  location.assign(`${server.authorize}?${asked}`);
}

async function comeBack() {
  const answer = new URLSearchParams(location.search);
  const waiting = JSON.parse(sessionStorage.getItem(waitingKey) || "null");
  sessionStorage.removeItem(waitingKey);
  if (!answer.has("state")) return;
  history.replaceState(null, "", server.here + (waiting ? waiting.at : "")); // the code leaves the address
  if (!waiting || answer.get("state") !== waiting.state || answer.get("iss") !== server.issuer) {
    tellProblem("The answer was not to a question of this page. Press Authorize again."); // RFC 9700 §4.4, §4.7
    return;
  }
  if (answer.has("error")) {
    const denied = answer.get("error") === "access_denied";
    tellProblem(denied ? "You did not allow it. Nothing was given to this page." : answer.get("error_description") || answer.get("error"));
    return;
  }
  await redeem(answer.get("code"), waiting.verifier);
}

async function redeem(code, verifier) {
  const body = new URLSearchParams({
    grant_type: "authorization_code", code, code_verifier: verifier,
    client_id: server.clientId, redirect_uri: server.redirectUri,
  });
  try {
    const response = await fetch(server.token, { method: "POST", body, credentials: "omit" });
    const given = await response.json();
    if (!response.ok) throw new Error(given.error_description || given.error);
    token = given.access_token;
    showToken(given);
  } catch (problem) {
    tellProblem(`No token was given: ${problem.message}. Press Authorize again.`);
  }
}

function showToken(given) {
  const until = new Date(Date.now() + given.expires_in * 1000);
  const scopes = (given.scope || "").split(" ").filter(Boolean).join(", ") || "no scope";
  const clock = until.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  find("authorized-words").textContent = `Authorized: ${scopes}. Good until ${clock}, or until this page is left.`;
  find("authorized").hidden = false;
  find("authorize-form").hidden = find("authorize-about").hidden = true;
  tellProblem("");
  expiry = setTimeout(() => drop("The token has expired."), given.expires_in * 1000);
  hintAtTokens();
}

function drop(words) {
  clearTimeout(expiry);
  token = null;
  find("authorized").hidden = true;
  find("authorize-form").hidden = find("authorize-about").hidden = false;
  tellProblem(words);
  hintAtTokens();
}

async function forget() {
  const body = new URLSearchParams({ token, client_id: server.clientId });
  drop("");
  find("authorize").focus();
  try {
    await fetch(server.revoke, { method: "POST", body, credentials: "omit" });
  } catch {
    tellProblem("The server could not be told; the token will expire by itself.");
  }
}

function hintAtTokens() {
  for (const form of document.querySelectorAll("form.try[data-needs-token=yes]")) {
    form.querySelector(".token-hint").textContent = token ? "with your token" : "without a token: press Authorize above to have one";
  }
}

function requestOf(form) {
  let path = form.dataset.path;
  const query = new URLSearchParams();
  const headers = token && form.dataset.needsToken === "yes" ? { Authorization: `Bearer ${token}` } : {};
  let body;
  for (const field of form.querySelectorAll("[data-in]")) {
    const value = field.value;
    if (field.dataset.in === "path") path = path.replace(`{${field.name}}`, encodeURIComponent(value));
    else if (field.dataset.in === "body") [body, headers["Content-Type"]] = [value, "application/json"];
    else if (value === "") continue;
    else if (field.dataset.in === "header") headers[field.name] = value;
    else for (const one of field.dataset.several ? value.split(",") : [value]) query.append(field.name, one.trim());
  }
  const asked = query.toString();
  const url = server.serverPath + path + (asked ? `?${asked}` : "");
  return [url, { method: form.dataset.method, headers, body, credentials: "omit", cache: "no-store" }];
}

async function send(event) {
  event.preventDefault();
  const form = event.currentTarget;
  const result = form.querySelector(".result");
  result.replaceChildren(element("p", "muted", "Sending…"));
  const began = performance.now();
  try {
    const response = await fetch(...requestOf(form));
    const text = await response.text();
    result.replaceChildren(...shown(response, text, Math.round(performance.now() - began)));
  } catch {
    result.replaceChildren(element("p", "note bad", "The server could not be reached."));
  }
}

function element(name, className, text) {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

function shown(response, text, milliseconds) {
  const head = element("p", "answered", "");
  head.append(element("strong", `status s${String(response.status)[0]}`, String(response.status)));
  head.append(` ${response.statusText} in ${milliseconds} ms`);
  const fields = element("dl", "facts", "");
  for (const name of shownFields.filter((one) => response.headers.has(one))) {
    const row = document.createElement("div");
    row.append(element("dt", "", name), element("dd", "", response.headers.get(name)));
    fields.append(row);
  }
  const body = element("pre", "", pretty(text) || "(no body)");
  body.tabIndex = 0;
  body.setAttribute("role", "region");
  body.setAttribute("aria-label", "Body of the answer");
  return [head, fields, body];
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2).slice(0, 100000);
  } catch {
    return text.slice(0, 100000);
  }
}

function begin() {
  find("authorize-part").hidden = false;
  find("without-script").hidden = true;
  for (const form of document.querySelectorAll("form.try")) {
    form.hidden = false;
    form.addEventListener("submit", send);
  }
  hintAtTokens();
  if (!find("authorize-form")) return;
  find("forget").addEventListener("click", forget);
  if (location.origin !== new URL(server.issuer).origin) {
    find("authorize-form").hidden = true;
    tellProblem(`To authorize, open this page at ${server.issuer}: tokens are given to that address only.`);
    return;
  }
  find("authorize-form").addEventListener("submit", authorize);
  comeBack();
}

begin();
