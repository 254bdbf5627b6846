/** Looks for secrets in texts, in every form in which one may turn up. */
export class Canaries {
  readonly #needles = new Map<string, readonly string[]>();

  /** @param name what is told where it turns up; short texts would be found everywhere */
  add(name: string, secret: string): void {
    if (secret.length < 8) throw new Error(`the canary ${name} is too short to be told from anything else`);
    this.#needles.set(name, formsOf(secret));
  }

  get names(): string[] {
    return [...this.#needles.keys()];
  }

  /** The names of those that are in a text, whoever put them there. */
  in(text: string, except: readonly string[] = []): string[] {
    return [...this.#needles].flatMap(([name, forms]) =>
      !except.includes(name) && forms.some((form) => text.includes(form)) ? [name] : [],
    );
  }
}

/** As it is, in base64 wherever it begins, in hex, in a URL, and as JSON writes it. */
function formsOf(secret: string): string[] {
  const bytes = Buffer.from(secret);
  const base64 = [0, 1, 2].map((before) => {
    const text = Buffer.concat([Buffer.alloc(before), bytes])
      .toString('base64')
      .replaceAll('=', '');
    // What neighbours have a part in is left out on both sides.
    return text.slice(Math.ceil((before * 8) / 6), -2);
  });
  const url = base64.map((text) => text.replaceAll('+', '-').replaceAll('/', '_'));
  const json = JSON.stringify(secret).slice(1, -1);
  return [...new Set([secret, ...base64, ...url, bytes.toString('hex'), encodeURIComponent(secret), json])];
}
