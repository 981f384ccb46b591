// The two buttons: light or dark, and holding the picture.

import { forgetTheme } from "./canvas.js";

const KEY = "theme";

function chosen() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // Without storage a choice holds until the page is left.
  }
}

/** Follows the system's theme until the user chooses; `show` is called after each change. */
export function followTheme(button, show) {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const set = (name) => {
    document.documentElement.dataset.theme = name;
    button.textContent = name === "dark" ? "Light" : "Dark";
    forgetTheme();
    show();
  };
  const system = () => (dark.matches ? "dark" : "light");
  dark.addEventListener("change", () => {
    if (chosen() === null) set(system());
  });
  button.addEventListener("click", () => {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    try {
      localStorage.setItem(KEY, next);
    } catch {
      // As above.
    }
    set(next);
  });
  set(chosen() ?? system());
}

/** Holds the picture at a click or the space key; what comes meanwhile is kept. */
export function followPause(eeg, button) {
  const turn = () => {
    eeg.paused = !eeg.paused;
    button.setAttribute("aria-pressed", String(eeg.paused));
  };
  button.addEventListener("click", turn);
  document.addEventListener("keydown", (event) => {
    if (event.key !== " " || event.target.closest("button")) return;
    event.preventDefault();
    turn();
  });
}
