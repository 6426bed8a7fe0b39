/**
 * What the package exports.
 */

export { type Config, readConfig } from "./config.ts";
export { type Server, type StopReport, startServer } from "./server.ts";
