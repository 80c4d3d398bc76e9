// Chooses how the trend is drawn: with uPlot if it was built in, else with a plain drawing of our own.

/** Builds a chart in `root`. `onHover(index | null)` tells which column the pointer is on. */
export async function makeChart(root, onHover) {
  try {
    const { UplotChart } = await import("./chart-uplot.js");
    return { chart: new UplotChart(root, onHover), isPlain: false };
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    const { SvgChart } = await import("./chart-svg.js");
    return { chart: new SvgChart(root, onHover), isPlain: true };
  }
}

/** Returns a round top of the scale that holds every column. */
export function scaleTop(columns) {
  const most = columns.reduce((top, column) => Math.max(top, column.in ?? 0, column.out ?? 0), 0);
  const step = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000].find((size) => most < size * 4) ?? 10_000;
  return Math.max(4, Math.ceil((most + step * 0.25) / step) * step);
}
