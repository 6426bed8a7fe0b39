import { describe, expect, test } from "bun:test";
import { type Config, configOf, readConfig } from "../src/config.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const DAY_MS = 24 * 60 * 60 * 1000;
const LARGEST = Number.MAX_SAFE_INTEGER;

interface WholeSetting {
  readonly name: keyof Config;
  readonly env: string;
  readonly fallback: number;
  readonly min: number;
  readonly max: number;
}

function whole(
  name: keyof Config,
  env: string,
  fallback: number,
  min: number,
  max = LARGEST,
): WholeSetting {
  return { name, env, fallback, min, max };
}

/** Every setting that is a whole number, as the documents say it. */
const WHOLE: readonly WholeSetting[] = [
  whole("port", "PORT", 8080, 0, 65_535),
  whole("workers", "WORKERS", 4, 1, 10_000),
  whole("threads", "THREADS", Math.max(1, navigator.hardwareConcurrency - 1), 1, 256),
  whole("queueSize", "QUEUE_SIZE", 64, 1),
  whole("queueBytes", "QUEUE_BYTES", 64 * MIB, KIB),
  whole("maxQueues", "MAX_QUEUES", 1000, 1),
  whole("claimsWaitingMax", "CLAIMS_WAITING_MAX", 10_000, 1),
  whole("leaseMs", "LEASE_MS", 10_000, 1000, 12 * 60 * 60 * 1000),
  whole("maxRetries", "MAX_RETRIES", 3, 0, 100),
  whole("retryBaseMs", "RETRY_BASE_MS", 200, 0),
  whole("retryJitterMs", "RETRY_JITTER_MS", 100, 0),
  whole("retryMaxMs", "RETRY_MAX_MS", 300_000, 0, 30 * DAY_MS),
  whole("taskTimeoutMs", "TASK_TIMEOUT_MS", 30_000, 1, DAY_MS),
  whole("simulatedWorkMs", "SIMULATED_WORK_MS", 0, 0),
  whole("resultBytesMax", "RESULT_BYTES_MAX", 64 * KIB, 1),
  whole("retainTasks", "RETAIN_TASKS", 10_000, 0),
  whole("retainBytes", "RETAIN_BYTES", 64 * MIB, 0),
  whole("retainMs", "RETAIN_MS", 3_600_000, 0),
  whole("maxBodyBytes", "MAX_BODY_BYTES", MIB, KIB),
  whole("answerBytesTotal", "ANSWER_BYTES_TOTAL", 256 * MIB, MIB),
  whole("shutdownGraceMs", "SHUTDOWN_GRACE_MS", 8000, 0),
];

/** The defaults of all others. */
const OTHERS: Partial<Config> = {
  host: "127.0.0.1",
  allowedHosts: [],
  corsOrigins: [],
  handlers: null,
  claimsMax: null,
  failureRate: 0.2,
  dataFile: null,
  durability: "full",
  logLevel: "info",
};

type Environment = Readonly<Record<string, string | undefined>>;

/** The value of a setting in an environment that has to be fine. */
function read(env: Environment, name: keyof Config): unknown {
  const outcome = readConfig(env);
  if (outcome.kind === "invalid") throw new Error(outcome.faults.join("\n"));
  return outcome.config[name];
}

/** The faults of an environment; none when it is fine. */
function faultsOf(env: Environment): readonly string[] {
  const outcome = readConfig(env);
  return outcome.kind === "invalid" ? outcome.faults : [];
}

describe("a configuration", () => {
  test("of an empty environment is all defaults", () => {
    const defaults = Object.fromEntries(WHOLE.map(({ name, fallback }) => [name, fallback]));

    expect(readConfig({})).toEqual({ kind: "valid", config: { ...defaults, ...OTHERS } as Config });
  });

  test("of a program without options is the same", () => {
    expect(readConfig({})).toEqual({ kind: "valid", config: configOf({}) });
  });

  test("takes an empty or blank variable for an unset one", () => {
    expect(readConfig({ PORT: "", HOST: "  ", HANDLERS: "\t", FAILURE_RATE: undefined })).toEqual(
      readConfig({}),
    );
  });

  test("does not care for blanks around a value", () => {
    expect(read({ PORT: " 80\n" }, "port")).toBe(80);
    expect(read({ LOG_LEVEL: " debug " }, "logLevel")).toBe("debug");
  });

  test("does not care for variables that it does not know", () => {
    expect(readConfig({ PATH: "/bin", QUEUE_SIZES: "many" })).toEqual(readConfig({}));
  });

  test("names every fault at once, with what was allowed and what was given", () => {
    expect(
      faultsOf({
        PORT: "http",
        WORKERS: "0",
        MAX_RETRIES: "101",
        FAILURE_RATE: "20%",
        LOG_LEVEL: "loud",
        QUEUE_SIZE: "10",
      }),
    ).toEqual([
      'PORT must be a whole number from 0 to 65535, but is "http"',
      "WORKERS must be a whole number from 1 to 10000, but is 0",
      "MAX_RETRIES must be a whole number from 0 to 100, but is 101",
      'FAILURE_RATE must be a number from 0 to 1, but is "20%"',
      'LOG_LEVEL must be one of debug, info, warn, error, silent, but is "loud"',
    ]);
  });
});

describe.each([...WHOLE])("$env", ({ name, env, min, max }) => {
  test("may be its least and its greatest", () => {
    expect(read({ [env]: String(min) }, name)).toBe(min);
    expect(read({ [env]: String(max) }, name)).toBe(max);
  });

  test("may be nothing below or above", () => {
    for (const value of [min - 1, max + 1]) {
      expect(faultsOf({ [env]: String(value) })).toEqual([
        expect.stringContaining(`${env} must be`),
      ]);
    }
  });

  test.each(["1.5", "1e3", "0x10", "1_000", "ten", "1 0", "+1", "∞", "NaN"])(
    "is not %p",
    (text) => {
      expect(faultsOf({ [env]: text })).toEqual([
        expect.stringMatching(new RegExp(`^${env} must be a whole number .*, but is "`)),
      ]);
    },
  );
});

describe("FAILURE_RATE", () => {
  test.each([
    ["0", 0],
    ["1", 1],
    ["0.25", 0.25],
    [".5", 0.5],
    ["1.", 1],
    ["2e-1", 0.2],
  ])("may be %p", (text, value) => {
    expect(read({ FAILURE_RATE: text }, "failureRate")).toBe(value);
  });

  test.each(["-0.1", "1.1", "1e400", "half", "0,5", "1/2", ".", "NaN"])("is not %p", (text) => {
    expect(faultsOf({ FAILURE_RATE: text })).toEqual([
      expect.stringMatching(/^FAILURE_RATE must be a number from 0 to 1, but is /),
    ]);
  });
});

describe("LOG_LEVEL", () => {
  test.each(["debug", "info", "warn", "error", "silent"])("may be %s", (level) => {
    expect(read({ LOG_LEVEL: level }, "logLevel")).toBe(level);
  });
});

describe("DURABILITY", () => {
  test.each(["full", "normal"])("may be %s", (durability) => {
    expect(read({ DURABILITY: durability }, "durability")).toBe(durability);
  });

  test("is nothing else", () => {
    expect(faultsOf({ DURABILITY: "off" })).toEqual([
      'DURABILITY must be one of full, normal, but is "off"',
    ]);
  });
});

test("CLAIMS_MAX may be missing, which is the size of each queue", () => {
  expect(read({}, "claimsMax")).toBeNull();
  expect(read({ CLAIMS_MAX: "1" }, "claimsMax")).toBe(1);
  expect(configOf({ claimsMax: null }).claimsMax).toBeNull();
  expect(faultsOf({ CLAIMS_MAX: "0" })).toHaveLength(1);
  expect(() => configOf({ claimsMax: 0 })).toThrow(RangeError);
});

test("HOST, HANDLERS and DATA_FILE are taken as they stand", () => {
  expect(read({ HOST: "::1" }, "host")).toBe("::1");
  expect(read({ HANDLERS: "./my handlers.ts" }, "handlers")).toBe("./my handlers.ts");
  expect(read({ DATA_FILE: "./my tasks.db" }, "dataFile")).toBe("./my tasks.db");
});

describe("ALLOWED_HOSTS", () => {
  test("is a list of names and addresses", () => {
    expect(
      read({ ALLOWED_HOSTS: "ringq.example, my_host,192.168.0.7 ,::1" }, "allowedHosts"),
    ).toEqual(["ringq.example", "my_host", "192.168.0.7", "::1"]);
  });

  test.each([
    "ringq.example:8080",
    "[::1]",
    "https://ringq.example",
    "*.example",
    "a..b",
    ".a",
    "a b",
    "a,,b",
    "a,",
    "ä",
  ])("is not %p", (text) => {
    expect(faultsOf({ ALLOWED_HOSTS: text })).toEqual([
      expect.stringMatching(
        /^ALLOWED_HOSTS must be a list of host names or IP addresses without ports, but is \[/,
      ),
    ]);
  });
});

describe("CORS_ORIGINS", () => {
  test("is a list of origins", () => {
    expect(
      read(
        { CORS_ORIGINS: "https://app.example,http://localhost:3000, http://[::1]" },
        "corsOrigins",
      ),
    ).toEqual(["https://app.example", "http://localhost:3000", "http://[::1]"]);
  });

  test.each([
    "*",
    "null",
    "app.example",
    "https://app.example/",
    "https://app.example/path",
    "https://app.example:443",
    "https://App.example",
    "https://me@app.example",
    "https://app.example:70000",
    "ftp://app.example",
    "https://",
    "https://a.example,,https://b.example",
  ])("is not %p", (text) => {
    expect(faultsOf({ CORS_ORIGINS: text })).toEqual([
      expect.stringMatching(
        /^CORS_ORIGINS must be a list of origins such as https:\/\/app.example:8443, but is \[/,
      ),
    ]);
  });
});

describe("options of a program", () => {
  /** Options as only a program without a compiler can pass them. */
  const unchecked = (options: Readonly<Record<string, unknown>>): Partial<Config> => options;

  test("go before the defaults", () => {
    expect(configOf({ workers: 2, failureRate: 0 })).toEqual({
      ...configOf({}),
      workers: 2,
      failureRate: 0,
    });
  });

  test("that are undefined take their default", () => {
    expect(configOf(unchecked({ workers: undefined }))).toEqual(configOf({}));
  });

  test("are refused with every fault, by their own names", () => {
    const faulty = unchecked({
      workers: "4",
      queueSize: Number.NaN,
      retainMs: Number.POSITIVE_INFINITY,
      failureRate: 10n,
      host: "",
      handlers: 7,
      allowedHosts: "localhost",
      corsOrigins: [8080],
      logLevel: "loud",
    });

    expect(() => configOf(faulty)).toThrow(
      new RangeError(
        [
          'workers must be a whole number from 1 to 10000, but is "4"',
          "queueSize must be a whole number of at least 1, but is NaN",
          'host must be a name or an address, but is ""',
          "handlers must be a path, but is 7",
          'allowedHosts must be a list of host names or IP addresses without ports, but is "localhost"',
          "corsOrigins must be a list of origins such as https://app.example:8443, but is [ 8080 ]",
          "failureRate must be a number from 0 to 1, but is 10n",
          "retainMs must be a whole number of at least 0, but is Infinity",
          'logLevel must be one of debug, info, warn, error, silent, but is "loud"',
        ]
          .toSorted(inOrderOfSettings)
          .join("; "),
      ),
    );
  });

  test("that do not exist are refused by name", () => {
    expect(() => configOf(unchecked({ prot: 80, toString: 1 }))).toThrow(
      new RangeError("unknown option prot; unknown option toString"),
    );
  });
});

/** Faults come in the order of the settings. */
function inOrderOfSettings(a: string, b: string): number {
  const names = Object.keys(configOf({}));
  const placeOf = (fault: string): number => names.indexOf(fault.split(" ")[0] ?? "");
  return placeOf(a) - placeOf(b);
}
