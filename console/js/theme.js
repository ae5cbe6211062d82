// A classic script on purpose: modules run after the first paint.
(function () {
  "use strict";
  var stored = null;
  try {
    stored = window.localStorage.getItem("gleaner.theme");
  } catch (error) {
    // Storage may be switched off; then the system decides.
  }
  if (stored === "light" || stored === "dark") {
    document.documentElement.dataset.theme = stored;
  }
})();
