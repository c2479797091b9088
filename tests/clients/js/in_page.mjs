// Talks in a browser's page: the task and the talk go by way of the page's own server.
import { talk } from "client";

const talked = await fetch("task").then((response) => response.json()).then(talk).catch((error) => ({ failed: `${error.name}: ${error.message}` }));
await fetch("talk", { method: "POST", body: JSON.stringify(talked) });
