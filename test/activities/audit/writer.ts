import { writeSync } from 'node:fs';

import { openAuditLog } from '../../../activities/audit/log.ts';
import { ConnectorError } from '../../../domain/errors.ts';
import { eventOf, optionsFor } from './support.ts';

/** Appends with many writers until it is killed, and says what was acknowledged: `writer.ts DIR WRITERS RUN`. */
const [dir = '', writers = '1', run = ''] = process.argv.slice(2);

// Synchronously: what is printed has left this process, whatever happens to it next.
const say = (line: string) => writeSync(1, `${line}\n`);

try {
  const log = await openAuditLog(optionsFor(dir));
  say('ready');
  const append = async (writer: number) => {
    for (let n = 0; ; n += 1) {
      const eventId = `${run}/${writer}/${n}`;
      await log.append(eventOf(eventId, 'x'.repeat((writer * 37 + n * 101) % 900)));
      say(eventId);
    }
  };
  await Promise.all(Array.from({ length: Number(writers) }, (_, writer) => append(writer)));
} catch (error) {
  say(`error ${error instanceof ConnectorError ? error.code : String(error)}`);
  process.exit(0);
}
