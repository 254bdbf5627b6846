import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Services } from '../../dev/stack.ts';

/** Runs kubectl as an administrator; resolves to its stdout and rejects where it fails. */
export async function callKubernetes(
  { kubernetes }: Pick<Services, 'kubernetes'>,
  ...args: readonly string[]
): Promise<string> {
  const env = { PATH: '/usr/bin:/bin', HOME: '/nonexistent', KUBECONFIG: kubernetes.kubeconfig };
  const { stdout } = await promisify(execFile)(kubernetes.kubectl, [...args], { env });
  return stdout;
}
