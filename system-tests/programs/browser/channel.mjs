// A viewer in headless Chromium: opens the channel's page, votes, waits until the overlay shows what
// the indication in the video says, and takes a picture. The gateway's URL, the driver's folder and
// the picture's path are the arguments; what was seen is printed as JSON.
import { createRequire } from "node:module";
import { join } from "node:path";

const [gateway, packages, picture] = process.argv.slice(2);
const { chromium } = createRequire(join(packages, "package.json"))("playwright-core");
const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required"],
});
const seen = { errors: [] };
// A busy machine takes its time; what is asserted is no matter of its speed.
const limit = { timeout: 300_000 };

async function open() {
  // A context of its own is a viewer of its own: other cookies, another visit.
  const page = await (await browser.newContext({ viewport: { width: 800, height: 900 } })).newPage();
  page.on("pageerror", (error) => seen.errors.push(String(error)));
  await page.goto(`${gateway}/channel`, limit);
  await page.waitForFunction(() => document.querySelector("video").currentTime > 0.2, null, limit);
  return page;
}

try {
  const viewer = await open();
  seen.before = await viewer.locator("#overlay").isVisible();
  for (let vote = 0; vote < 5; vote += 1) {
    const answered = viewer.waitForResponse((response) => response.url().endsWith("/vote"));
    await viewer.click("[data-vote=red]");
    seen.voted = (await answered).status();
  }
  await viewer.waitForSelector("#overlay.red", { state: "visible", ...limit });
  seen.overlay = await viewer.locator("#overlay").textContent();
  seen.id = await viewer.getAttribute("#overlay", "data-id");
  seen.indications = await viewer.locator("#indications li").allTextContents();
  await viewer.fill("#wanted", "the goal again");
  await viewer.click("#broadcast button");
  await viewer.waitForSelector("#content", { state: "visible", ...limit });
  seen.content = await viewer.locator("#content").textContent();
  seen.broadcast = await viewer.getAttribute("#content", "data-broadcast");
  await viewer.screenshot({ path: picture });
  // The clip itself comes on, which is green, and after it the channel again.
  const green = (wanted) => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [1, 1];
    const drawing = canvas.getContext("2d");
    drawing.drawImage(document.querySelector("video"), 0, 0, 1, 1);
    const [red, value, blue] = drawing.getImageData(0, 0, 1, 1).data;
    return (red < 60 && value > 80 && blue < 60) === wanted;
  };
  await viewer.waitForFunction(green, true, limit);
  await viewer.waitForFunction(green, false, limit);
  seen.returned = await viewer.evaluate(() => document.querySelector("video").currentTime);
  await viewer.waitForFunction((at) => document.querySelector("video").currentTime > at + 1, seen.returned, limit);
  // Who comes now was not there at the crossing.
  const late = await (await browser.newContext()).newPage();
  await late.addInitScript(() => {
    window.times = {};
    const look = () => {
      const video = document.querySelector("video");
      const overlay = document.querySelector("#overlay");
      // In the video's own time: how fast this machine is does not matter.
      if (video?.currentTime > 0 && !video.paused) window.times.playing ??= video.currentTime;
      if (overlay && !overlay.hidden) window.times.overlay ??= video.currentTime;
      requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  });
  await late.goto(`${gateway}/channel`, limit);
  await late.waitForFunction(() => window.times.playing && window.times.overlay, null, limit);
  seen.late = await late.evaluate(() => window.times);
} finally {
  await browser.close();
  console.log(JSON.stringify(seen));
}
