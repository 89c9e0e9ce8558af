// Drives the demo page as a person would: node drive.mjs PAGE ADMIN SCREENSHOT
//
// PAGE is the page's address, ADMIN that of the admin listener (open to this machine with -dev). Every step waits
// for what a person would see. The last line printed is {"ok":true,…}, or the step that failed.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [page_, admin, screenshot] = process.argv.slice(2);
const profile = mkdtempSync(join(tmpdir(), "gatecast-chromium-"));
const context = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  headless: true,
  viewport: { width: 1200, height: 900 },
  args: [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
  ],
});
const page = context.pages()[0] ?? (await context.newPage());
page.setDefaultTimeout(15000);
const complaints = [];
page.on("console", (m) => m.type() === "error" && complaints.push(m.text()));
page.on("pageerror", (e) => complaints.push(String(e)));
page.on("request", (r) => new URL(r.url()).host !== new URL(page_).host && r.url().slice(0, 5) !== "data:" && complaints.push(`asks for ${r.url()}`));

let step = "start";
const id = (user, name) => page.locator(`#${user}-${name}`);
const state = (user, want) => page.locator(`#${user}-panel[data-state=${want}]`).waitFor();
const notice = (user, code) => page.locator(`#${user}-notice[data-code=${code}]`).waitFor({ state: "attached" });
const messages = (user) => id(user, "messages").locator("li");

async function want(what, got, wanted) {
  if (got !== wanted) throw new Error(`${what} is ${JSON.stringify(got)}, want ${JSON.stringify(wanted)}`);
}

async function eventually(what, get, wanted) {
  const end = Date.now() + 15000;
  let got;
  while ((got = await get()) !== wanted) {
    if (Date.now() > end) throw new Error(`${what} is ${JSON.stringify(got)}, want ${JSON.stringify(wanted)}`);
    await page.evaluate(() => new Promise(requestAnimationFrame));
  }
}

async function join_(user, group) {
  await id(user, "group").fill(group);
  await id(user, "join").click();
}

async function send(user, group, text) {
  await id(user, "to").fill(group);
  await id(user, "text").fill(text);
  await id(user, "send").click();
}

const steps = {
  "both users are logged in when the page is open": async () => {
    await page.goto(page_);
    for (const user of ["alice", "bob"]) {
      await state(user, "connected");
      await eventually(`${user}'s id`, () => id(user, "user").innerText(), user);
      await id(user, "groups").locator(`[data-group="user.${user}"][data-by=server]`).waitFor();
    }
  },
  "they join a group and hear each other": async () => {
    for (const user of ["alice", "bob"]) {
      await join_(user, "chat.lobby");
      await notice(user, "ok");
      await id(user, "groups").locator('[data-group="chat.lobby"]').waitFor();
    }
    await send("alice", "chat.lobby", "<img src=x onerror=alert(1)> hé 🐉");
    for (const user of ["alice", "bob"]) {
      const last = messages(user).last();
      await last.waitFor();
      await want("its text", await last.locator(".data").innerText(), "<img src=x onerror=alert(1)> hé 🐉");
      await want("its sender", await last.getAttribute("data-from"), "alice");
      await want("its group", await last.getAttribute("data-group"), "chat.lobby");
    }
    await send("bob", "chat.lobby", "hello alice");
    await eventually("alice's messages", () => messages("alice").count(), 2);
    await eventually("bob's messages", () => messages("bob").count(), 2);
  },
  "without echo the sender hears nothing": async () => {
    await id("alice", "echo").uncheck();
    await send("alice", "chat.lobby", "only for bob");
    await eventually("bob's messages", () => messages("bob").count(), 3);
    await id("alice", "echo").check();
    await send("alice", "chat.lobby", "for both");
    await eventually("bob's messages", () => messages("bob").count(), 4);
    await eventually("alice's messages", () => messages("alice").count(), 3);
    await want("alice's last", await messages("alice").last().locator(".data").innerText(), "for both");
  },
  "what is not granted is refused in words": async () => {
    await id("alice", "forbidden").click();
    await notice("alice", "forbidden");
    await want("groups with secrets", await id("alice", "groups").locator('[data-group="secret.plans"]').count(), 0);
    await send("alice", "news.today", "not me");
    await notice("alice", "forbidden");
    await join_("bob", "a b");
    await notice("bob", "bad_group");
  },
  "a message from the backend arrives": async () => {
    await join_("alice", "news.today");
    await id("alice", "groups").locator('[data-group="news.today"]').waitFor();
    const before = await messages("alice").count();
    const res = await fetch(`${admin}/api/v1/group_send`, { method: "POST", body: JSON.stringify({ group: "news.today", data: { text: "from the backend" } }) });
    await want("the API's answer", res.status, 200);
    await eventually("alice's messages", () => messages("alice").count(), before + 1);
    await want("its text", await messages("alice").last().locator(".data").innerText(), "from the backend");
  },
  "after leaving nothing more is heard": async () => {
    await id("bob", "group").fill("chat.lobby");
    await id("bob", "leave").click();
    await id("bob", "groups").locator('[data-group="chat.lobby"]').waitFor({ state: "detached" });
    const before = await messages("bob").count();
    const alice = await messages("alice").count();
    await send("alice", "chat.lobby", "bob?");
    await eventually("alice's messages", () => messages("alice").count(), alice + 1);
    await want("bob's messages", await messages("bob").count(), before);
  },
  "disconnect and connect again": async () => {
    await id("alice", "disconnect").click();
    await state("alice", "closed");
    await id("alice", "connect").click();
    await state("alice", "connected");
    await join_("alice", "chat.again");
    await send("alice", "chat.again", "back");
    await eventually("alice's last", () => messages("alice").last().locator(".data").innerText(), "back");
  },
  "the backend throws somebody out": async () => {
    await page.screenshot({ path: screenshot, fullPage: true });
    const res = await fetch(`${admin}/api/v1/disconnect`, { method: "POST", body: JSON.stringify({ user: "bob" }) });
    await want("the API's answer", res.status, 200);
    await state("bob", "closed");
    await eventually("bob's close code", () => id("bob", "close-code").textContent(), "4410");
    await state("alice", "connected");
  },
  "the page is content": async () => {
    if (complaints.length > 0) throw new Error(complaints.join("; "));
  },
};

let failed;
try {
  for (const [name, run] of Object.entries(steps)) {
    step = name;
    await run();
  }
} catch (err) {
  failed = `${step}: ${err.message}`;
  await page.screenshot({ path: screenshot, fullPage: true }).catch(() => {});
} finally {
  await context.close();
  rmSync(profile, { recursive: true, force: true });
}
console.log(JSON.stringify(failed ? { ok: false, failed, complaints } : { ok: true, steps: Object.keys(steps).length }));
process.exit(failed ? 1 : 0);
