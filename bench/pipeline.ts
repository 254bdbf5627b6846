import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { parsePublicKeys } from '../activities/sigstore/keys.ts';
import { verifyBundle } from '../activities/sigstore/verify-signature.ts';
import type { KeyPair } from '../client/sign.ts';
import { generateKeyPair, signWpk } from '../client/sign.ts';
import type { Stack } from '../dev/stack.ts';
import type { Change } from './changes.ts';
import { configMapChange } from './changes.ts';
import type { RunningConnector } from './connectors.ts';
import { startApart, startInProcess } from './connectors.ts';
import type { BenchContext } from './compare.ts';
import { compare, THEIRS } from './compare.ts';
import type { Contestant } from './interleave.ts';
import { packageRun } from './package-run.ts';
import type { Toolbox } from './shell.ts';
import { cosignVerify, kubectlDiffAndApply, openToolbox, shellPipeline } from './shell.ts';
import type { Comparison } from './table.ts';

const FEW_OBJECTS = 5;
const MANY_OBJECTS = 1_000;

/** How many times faster than what a user does today the connector has to be. */
const TARGETS = { few: 2, many: 3, verify16KiB: 100, verify1MiB: 30 };

/** Where packages come from: a client and a worker in one process, or each in its own. */
const EAGER = 'eager start';
const REMOTE = 'remote submit';

/** What a reader of the table must know to believe it. */
export const PIPELINE_NOTES: readonly string[] = [
  'Each round updates every object, on both sides; the round that creates them is not timed.',
  `${FEW_OBJECTS} ConfigMaps: theirs is cosign verify-blob, kubectl diff and apply --server-side, and sha256sum, in one sh.`,
  `${MANY_OBJECTS} ConfigMaps: theirs is kubectl diff and apply; ours has a vote in it, sent as soon as there is a plan.`,
  'Eager start: client and worker share a process and a connection. Remote submit: each has its own.',
];

/** Measures the pipeline against what a user would do without it: whole packages, small and large, and signatures alone. */
export async function benchPipeline(context: BenchContext): Promise<Comparison[]> {
  const { stack, env } = context;
  const keys = generateKeyPair();
  const tools = await openToolbox(stack, env, keys);
  const few = await changesOf(stack, 'few', FEW_OBJECTS);
  const many = await changesOf(stack, 'many', MANY_OBJECTS);
  const remote = await startApart({ stack, env, clusterId: 'bench-remote', approved: [few.remote] });
  try {
    const eager = await startInProcess({ stack, env, clusterId: 'bench-eager', approved: [few.eager] });
    try {
      const sides = { eager, remote, tools };
      return [
        ...(await compareSmallPackages(context, few, sides)),
        ...(await compareLargePackages(context, many, sides)),
        ...(await compareVerification(context, keys, tools)),
      ];
    } finally {
      await eager.stop();
    }
  } finally {
    await remote.stop();
  }
}

interface Sides {
  readonly eager: RunningConnector;
  readonly remote: RunningConnector;
  readonly tools: Toolbox;
}

/** The same change for each side, in a namespace of its own, so that none finds the work done by another. */
type Changes = Readonly<Record<'eager' | 'remote' | 'theirs', Change>>;

async function changesOf({ kubernetes }: Stack, name: string, objects: number): Promise<Changes> {
  const sideOf = async (side: string) => {
    const namespace = `${name}-${side}`;
    const flags = ['--kubeconfig', kubernetes.kubeconfig];
    await promisify(execFile)(kubernetes.kubectl, [...flags, 'create', 'namespace', namespace]);
    return configMapChange(namespace, objects);
  };
  return { eager: await sideOf('eager'), remote: await sideOf('remote'), theirs: await sideOf('theirs') };
}

async function compareSmallPackages(context: BenchContext, changes: Changes, sides: Sides): Promise<Comparison[]> {
  const what = `${FEW_OBJECTS} ConfigMaps updated, submit to audited end`;
  return compare(context, what, TARGETS.few, [
    packageRun(EAGER, sides.eager, changes.eager, 'by-policy'),
    packageRun(REMOTE, sides.remote, changes.remote, 'by-policy'),
    shellPipeline(THEIRS, sides.tools, changes.theirs),
  ]);
}

/** So many objects are no low risk, so that a person has to approve: the benchmark does, as soon as it can. */
async function compareLargePackages(context: BenchContext, changes: Changes, sides: Sides): Promise<Comparison[]> {
  const what = `${MANY_OBJECTS} ConfigMaps updated, plan and apply`;
  return compare(context, what, TARGETS.many, [
    packageRun(EAGER, sides.eager, changes.eager, 'by-vote'),
    packageRun(REMOTE, sides.remote, changes.remote, 'by-vote'),
    kubectlDiffAndApply(THEIRS, sides.tools, changes.theirs),
  ]);
}

async function compareVerification(context: BenchContext, keys: KeyPair, tools: Toolbox): Promise<Comparison[]> {
  const blob = (sizeBytes: number, label: string, target: number) => {
    const bytes = randomBytes(sizeBytes);
    const ours = inProcessVerify('in process', keys, bytes);
    return compare(context, `signature over ${label}`, target, [ours, cosignVerify(THEIRS, tools, bytes)]);
  };
  return [
    ...(await blob(16 * 1024, '16 KiB', TARGETS.verify16KiB)),
    ...(await blob(1024 * 1024, '1 MiB', TARGETS.verify1MiB)),
  ];
}

function inProcessVerify(name: string, { privateKeyPem, publicKeyPem }: KeyPair, payload: Uint8Array): Contestant {
  const bundle: unknown = signWpk(payload, privateKeyPem);
  const keys = parsePublicKeys(publicKeyPem, 'bench');
  const verify = async () => void verifyBundle({ payload, bundle, keys, now: new Date() });
  return { name, prepare: () => Promise.resolve(verify) };
}
