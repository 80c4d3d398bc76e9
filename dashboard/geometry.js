// Where the parts of a line's drawing go. Points are [x, y], y grows downwards.

/** Finds the point at a share (0..1) of a polyline's length, and the unit direction of the piece it lies on. */
export function along(points, share) {
  const lengths = points.slice(1).map((point, i) => Math.hypot(point[0] - points[i][0], point[1] - points[i][1]));
  let left = share * lengths.reduce((sum, length) => sum + length, 0);
  let piece = 0;
  while (piece < lengths.length - 1 && left > lengths[piece]) left -= lengths[piece++];
  const [a, b] = [points[piece], points[piece + 1]];
  const length = lengths[piece] || 1;
  const direction = [(b[0] - a[0]) / length, (b[1] - a[1]) / length];
  return { at: [a[0] + direction[0] * left, a[1] + direction[1] * left], direction };
}

/** Turns a direction to its right hand, as seen on the picture. */
export const rightOf = ([dx, dy]) => [-dy, dx];

/** Returns the way of "in": from the left hand to the right hand of A->B, the other way round if swapped. */
export function inwards(direction, isSwapped) {
  const [x, y] = rightOf(direction);
  return isSwapped ? [-x, -y] : [x, y];
}

/** Names the sides in the order in which somebody who goes in meets them. */
export function sidesInwards(line) {
  const [left, right] = line.sides ?? ["", ""];
  return line.swap ? [right, left] : [left, right];
}

/** Returns the middle of a polygon's corners. */
export function middle(points) {
  const sum = points.reduce(([x, y], [px, py]) => [x + px, y + py], [0, 0]);
  return [sum[0] / points.length, sum[1] / points.length];
}
