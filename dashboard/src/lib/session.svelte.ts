// Who is logged in. The key becomes a cookie that no script can read.

class Session {
  /** Whether a key is asked for. */
  asked = $state(false);
  /** Counts logins. */
  changes = $state(0);

  ask() {
    this.asked = true;
  }

  /** Returns what is wrong with the key, or nothing. */
  async logIn(key: string): Promise<string | undefined> {
    let answer: Response;
    try {
      answer = await fetch("/login", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ key }) });
    } catch {
      return "the API does not answer";
    }
    if (!answer.ok) {
      const problem = (await answer.json().catch(() => ({}))) as { detail?: string };
      return problem.detail ?? `it was refused with status ${answer.status}`;
    }
    this.asked = false;
    this.changes += 1;
  }

  async logOut() {
    await fetch("/logout", { method: "POST" }).catch(() => undefined);
    location.reload(); // nothing of what was seen stays; where a key is needed, it is asked for again
  }
}

export const session = new Session();
