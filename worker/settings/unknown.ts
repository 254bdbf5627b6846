import { meantWord } from '../../domain/schema-sentences.ts';
import { knownSettings } from './catalogue.ts';

const OURS = /^BYOC_/i;
/** Other people's variables begin like ours here, so only what nearly is one of ours is told. */
const SHARED_PREFIX = /^(VAULT|PROM|INSIGHT|S3|AWS|COSIGN|CONTROL_PLANE|TEMPORAL)_/i;
/** As near as a misspelling, and settings of theirs: AWS has an endpoint for each of its services. */
const THEIRS = /^(AWS_ENDPOINT_URL|COSIGN_YES$)/;

/** What Kubernetes puts into each pod for each Service of its namespace, such as one named `byoc-connector`. */
const OF_SERVICES = /_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$/;
const SERVICE_ADDRESS = /^(tcp|udp|sctp):\/\/[\d.:[\]a-f]+$/;

/** Without it everything is in clear: nobody who meant to set it may go on. */
const PROTECTS = 'BYOC_PAYLOAD_CODEC';

export interface UnknownSetting {
  /** A sentence, with the setting that was meant where there is one near. */
  readonly says: string;
  /** Whether what was meant would have protected something, so that a warning is not enough. */
  readonly exposes: boolean;
}

/** Variables that are no settings, where somebody has most likely meant one: nothing reads them. */
export function unknownSettings(env: Readonly<Record<string, string | undefined>>): UnknownSetting[] {
  const { names, families } = knownSettings();
  return Object.entries(env)
    .filter(([name]) => !names.includes(name) && !families.some((family) => family.test(name)))
    .flatMap(([name, value]) => {
      const meant = meantWord(name, names);
      const isOurs = OURS.test(name) && !isOfService(name, value);
      if (!isOurs && !(SHARED_PREFIX.test(name) && !THEIRS.test(name) && meant)) return [];
      const says = `${name} is no setting${meant ? `; did you mean ${meant}?` : '.'}`;
      return [{ says, exposes: meant === PROTECTS }];
    });
}

/** Whether Kubernetes has set it; a setting may also be overwritten so, where a Service has the name that it is made of. */
export function isServiceAddress(value: string | undefined): boolean {
  return SERVICE_ADDRESS.test(value ?? '');
}

function isOfService(name: string, value: string | undefined): boolean {
  return OF_SERVICES.test(name) || (name.endsWith('_PORT') && isServiceAddress(value));
}
