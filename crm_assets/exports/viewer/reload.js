// Loads the page again when a log that begins is complete: the viewer of static files does not look.
const name = () => decodeURIComponent(location.hash.match(/[^/]+\.eval/)?.[0] ?? "");
let waiting = "";
setInterval(async () => {
  const log = name();
  if (!log) return;
  const { complete } = await (await fetch(`./state/${encodeURIComponent(log)}`)).json();
  if (!complete) waiting = log;
  else if (waiting === log) location.reload();
}, 1000);
