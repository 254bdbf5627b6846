import { CancellationScope } from '@temporalio/workflow';

/**
 * Does in one call what would take a call for each of many votes. Those that arrive together are handled together: with
 * a call for each, a flood would take the workflow longer than a task may last, and a stop that waits behind it would
 * never be heard.
 */
export class Together<Item, Result> {
  private readonly work: (items: readonly Item[]) => Promise<readonly Result[]>;
  private readonly failed: Result;
  private waiting: Item[] = [];
  private running: Promise<ReadonlyMap<Item, Result>> | undefined;

  /**
   * @param work resolves to one result an item, in their order; a stop does not end it
   * @param failed what an item gets whose work throws: a message must never end the whole run
   */
  constructor(work: (items: readonly Item[]) => Promise<readonly Result[]>, failed: Result) {
    this.work = work;
    this.failed = failed;
  }

  /** Resolves to what became of the item; never throws. */
  async add(item: Item): Promise<Result> {
    this.waiting.push(item);
    this.running ??= this.runWaiting();
    return (await this.running).get(item) ?? this.failed;
  }

  private async runWaiting(): Promise<ReadonlyMap<Item, Result>> {
    await Promise.resolve(); // what else this task of the workflow brings comes along
    const items = this.waiting;
    this.waiting = [];
    this.running = undefined;
    const parts = Array.from({ length: Math.ceil(items.length / AT_A_TIME) }, (_, index) =>
      items.slice(index * AT_A_TIME, (index + 1) * AT_A_TIME),
    );
    const done = await CancellationScope.nonCancellable(() => Promise.all(parts.map((part) => this.attempt(part))));
    return new Map(done.flat());
  }

  /** One item that cannot be handled must not take the others with it. */
  private async attempt(items: readonly Item[]): Promise<readonly (readonly [Item, Result])[]> {
    try {
      const results = await this.work(items);
      return items.map((item, index) => [item, results[index] ?? this.failed] as const);
    } catch {
      if (items.length === 1) return items.map((item) => [item, this.failed] as const);
      return (await Promise.all(items.map((item) => this.attempt([item])))).flat();
    }
  }
}

/** Few enough that the longest votes, with their statements, stay below Temporal's limit of a payload. */
const AT_A_TIME = 25;
