// What all pictures share: sharp canvases, the colours of the style sheet, hatching.

let colours = null;

/** Gives the colours that hold now. */
export function theme() {
  if (colours === null) {
    const style = getComputedStyle(document.documentElement);
    const read = (name) => style.getPropertyValue(`--${name}`).trim();
    colours = Object.fromEntries(
      ["ink", "soft", "line", "grid", "trace", "weak", "hatch", "plate", "card"].map((name) => [name, read(name)]),
    );
    colours.classes = Array.from({ length: 8 }, (_, i) => read(`c${i}`));
    colours.font = getComputedStyle(document.body).fontFamily;
    colours.patterns = new Map();
  }
  return colours;
}

export function forgetTheme() {
  colours = null;
}

/** Gives a canvas as many pixels as the screen has under it. */
export function fit(canvas) {
  const ratio = Math.min(2, devicePixelRatio || 1);
  const width = Math.round(canvas.clientWidth * ratio);
  const height = Math.round(canvas.clientHeight * ratio);
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  return { width, height, ratio };
}

/** Gives a fill of slanted lines. */
export function hatch(context, colour, ratio) {
  const { patterns } = theme();
  const key = `${colour} ${ratio}`;
  if (!patterns.has(key)) {
    const side = Math.round(8 * ratio);
    const tile = document.createElement("canvas");
    tile.width = tile.height = side;
    const pen = tile.getContext("2d");
    pen.strokeStyle = colour;
    pen.lineWidth = 1.2 * ratio;
    for (const shift of [-side, 0, side]) {
      pen.moveTo(shift - 1, side + 1);
      pen.lineTo(shift + side + 1, -1);
    }
    pen.stroke();
    patterns.set(key, context.createPattern(tile, "repeat"));
  }
  return patterns.get(key);
}
