// Where the reader is, in the address: so that a page can be kept, sent and gone back to. Behind "#", since "/" is the one page.

class Route {
  path = $state("");
  query = $state.raw(new URLSearchParams());

  constructor() {
    this.read();
    addEventListener("hashchange", () => this.read());
  }

  private read() {
    const [path = "", query = ""] = location.hash.replace(/^#\/?/, "").split("?");
    this.path = decodeURIComponent(path);
    this.query = new URLSearchParams(query);
  }

  /** `jobs/42` gives `["jobs", "42"]`. */
  get parts(): string[] {
    return this.path.split("/");
  }

  go(path: string, query?: URLSearchParams) {
    location.hash = to(path, query);
  }
}

/** The address of a page. */
export function to(path: string, query?: URLSearchParams | Record<string, string>): string {
  const text = query ? new URLSearchParams(query).toString() : "";
  return `#/${path.split("/").map(encodeURIComponent).join("/")}${text ? `?${text}` : ""}`;
}

export const route = new Route();
