import { isMalformed, UNREADABLE_RUN } from '../domain/malformed.ts';

/**
 * What an activity answered. A history that was encrypted while the worker had a key is played again by one that has none
 * when somebody asks for what it holds, or when the run goes on.
 * @throws what is no failure of the package: the task is tried again, until a worker has the key, and a query is told why
 */
export function readable<T>(answer: T): T {
  if (isMalformed(answer)) throw new Error(UNREADABLE_RUN);
  return answer;
}
