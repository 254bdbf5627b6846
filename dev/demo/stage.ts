import { styleText } from 'node:util';

const SPINNER = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const FRAME_MS = 80;
const TITLE_WIDTH = 64;

/** Tells the demo's story: with movement and colour on a terminal, as plain lines elsewhere. */
export class Stage {
  readonly #out: NodeJS.WriteStream;
  readonly #startedAt = Date.now();

  constructor(out: NodeJS.WriteStream) {
    this.#out = out;
  }

  paint(style: Parameters<typeof styleText>[0], text: string): string {
    return styleText(style, text, { stream: this.#out });
  }

  /** Seconds since the curtain rose. */
  get seconds(): number {
    return Math.round((Date.now() - this.#startedAt) / 100) / 10;
  }

  heading(text: string): void {
    this.#line('');
    this.#line(this.paint('bold', text));
  }

  /** Does something and says how long it took; `tell` says what it is at. */
  async act<T>(title: string, work: (tell: (what: string) => void) => Promise<T>): Promise<T> {
    const startedAt = Date.now();
    const stop = this.#out.isTTY ? this.#spin(title) : undefined;
    let told = '';
    const tell = (what: string) => {
      if (stop) stop.tell(what);
      else if (what !== told) this.#line(`    ${what}`);
      told = what;
    };
    try {
      const result = await work(tell);
      stop?.end();
      this.#line(`  ${this.paint('green', '✔')} ${title.padEnd(TITLE_WIDTH)} ${this.paint('dim', since(startedAt))}`);
      return result;
    } catch (error) {
      stop?.end();
      this.#line(`  ${this.paint('red', '✘')} ${title.padEnd(TITLE_WIDTH)} ${this.paint('dim', since(startedAt))}`);
      throw error;
    }
  }

  /** Shows what a command or a part said. */
  show(lines: readonly string[]): void {
    for (const line of lines) this.#line(`      ${line}`);
  }

  /** Shows a command as one would type it. */
  command(text: string): void {
    this.#line(`      ${this.paint('dim', '$')} ${this.paint('cyan', text)}`);
  }

  #spin(title: string): { tell(what: string): void; end(): void } {
    let frame = 0;
    let what = '';
    const draw = () => {
      const text = `  ${SPINNER[frame++ % SPINNER.length]} ${title}${what ? `  ${what}` : ''}`;
      this.#out.write(`\r\u001b[2K${text.slice(0, Math.max(20, this.#out.columns - 1))}`);
    };
    draw();
    const timer = setInterval(draw, FRAME_MS);
    return {
      tell: (now) => (what = now),
      end: () => {
        clearInterval(timer);
        this.#out.write('\r\u001b[2K');
      },
    };
  }

  #line(text: string): void {
    this.#out.write(`${text}\n`);
  }
}

function since(startedAt: number): string {
  return `${((Date.now() - startedAt) / 1000).toFixed(1)} s`;
}
