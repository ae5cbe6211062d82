// Icons as strokes in a box of 24, so that they take the colour of the text around.

import { s } from "./dom.js";

const PATHS = {
  search: ["M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14", "M20 20l-4-4"],
  compare: ["M4 5h6v14H4z", "M14 5h6v14h-6z"],
  schemas: ["M3 4h7v6H3z", "M14 14h7v6h-7z", "M6.5 10v7H14"],
  entities: ["M4 7V5h16v2", "M12 5v9", "M4 19h16", "M9 14h6"],
  code: ["M9 7l-5 5 5 5", "M15 7l5 5-5 5"],
  jobs: ["M12 4a8 8 0 1 0 8 8", "M12 8v4l3 2", "M16 4.5l4 .5-.5 4"],
  indexes: ["M4 6c0-1.5 3.6-2.5 8-2.5S20 4.5 20 6s-3.6 2.5-8 2.5S4 7.5 4 6z", "M4 6v12c0 1.5 3.6 2.5 8 2.5s8-1 8-2.5V6", "M4 12c0 1.5 3.6 2.5 8 2.5s8-1 8-2.5"],
  menu: ["M4 7h16", "M4 12h16", "M4 17h16"],
  sun: ["M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8", "M12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M5.3 18.7l1.4-1.4M17.3 6.7l1.4-1.4"],
  moon: ["M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z"],
  auto: ["M12 3.5a8.5 8.5 0 1 0 0 17z", "M12 3.5a8.5 8.5 0 0 1 0 17"],
  key: ["M8 11a4 4 0 1 0 0 8 4 4 0 0 0 0-8", "M11 12l8.5-8.5M16 7l3 3"],
  help: ["M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17", "M9.5 9.5a2.5 2.5 0 1 1 3.5 2.3c-.7.3-1 .8-1 1.7", "M12 16.5v.2"],
  close: ["M6 6l12 12", "M18 6L6 18"],
  check: ["M5 12.5l4.5 4.5L19 7.5"],
  up: ["M12 19V6", "M6 12l6-6 6 6"],
  down: ["M12 5v13", "M6 12l6 6 6-6"],
  copy: ["M9 9h10v11H9z", "M5 15V4h10"],
  pause: ["M9 6v12", "M15 6v12"],
  play: ["M8 5.5v13l10-6.5z"],
  retry: ["M19 12a7 7 0 1 1-2.5-5.4", "M19 3v4.5h-4.5"],
  warning: ["M12 4L3 19.5h18z", "M12 10v4.5", "M12 17v.2"],
};

export function icon(name) {
  return s(
    "svg",
    { class: "icon", viewBox: "0 0 24 24", width: 18, height: 18, "aria-hidden": "true", focusable: "false" },
    PATHS[name].map((path) => s("path", { d: path })),
  );
}
