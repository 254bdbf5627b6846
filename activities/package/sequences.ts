import type { Sha256 } from '../../domain/digest.ts';
import { ConnectorError } from '../../domain/errors.ts';
import type { Wpk } from '../../domain/wpk.ts';
import type { StateRecords } from '../kubernetes/writer.ts';

/**
 * The highest sequence of each playbook that was executed in this cluster, kept in the cluster for good: an older
 * package that was held back cannot be run after a newer one. Packages that only arrive out of order are not punished,
 * because nothing is compared before execution.
 */
export class Sequences {
  private readonly records: StateRecords;
  private readonly sha256: Sha256;
  private readonly clusterId: string;

  constructor(records: StateRecords, sha256: Sha256, clusterId: string) {
    this.records = records;
    this.sha256 = sha256;
    this.clusterId = clusterId;
  }

  /**
   * Notes that a package is about to be executed. Packages with equal sequences may both run, in any order: what keeps
   * one of them from running twice is its id.
   * @throws {ConnectorError} WPK_SEQUENCE_OLD where a package with a higher sequence was executed before
   */
  async advance({ metadata }: Wpk): Promise<void> {
    const { playbook, sequence, id } = metadata;
    const name = `sequence-${this.sha256(`${this.clusterId} ${playbook.id}`).slice('sha256:'.length, 48)}`;
    await this.records.amend(name, (record) => {
      const highest = record?.['highest'] === undefined ? -1 : Number(record['highest']);
      if (sequence === highest) return undefined;
      // Written so that a record that is no number refuses.
      if (!(sequence > highest)) {
        const detail = `It has the sequence ${sequence}; ${record?.['highest']} of playbook ${playbook.id} was executed.`;
        throw new ConnectorError('WPK_SEQUENCE_OLD', detail);
      }
      return { cluster: this.clusterId, playbook: playbook.id, highest: String(sequence), wpkId: id };
    });
  }
}
