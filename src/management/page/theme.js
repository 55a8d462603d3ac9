// Applies the chosen colours before the first paint. Without a choice, the system's preference holds.
(() => {
  const chosen = localStorage.getItem("leveret.theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
