// Copies what the page needs of its one library into vendor/. There is nothing to compile.
import { copyFile, mkdir, rm } from "node:fs/promises";

const from = new URL("node_modules/uplot/", import.meta.url);
const to = new URL("vendor/", import.meta.url);

await rm(to, { recursive: true, force: true });
await mkdir(to, { recursive: true });
await copyFile(new URL("dist/uPlot.esm.js", from), new URL("uPlot.esm.js", to));
await copyFile(new URL("dist/uPlot.min.css", from), new URL("uPlot.min.css", to));
await copyFile(new URL("LICENSE", from), new URL("uPlot.LICENSE", to));
console.log("dashboard/vendor is ready");
