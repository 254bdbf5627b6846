import { at, isRecord, type KubeObject } from './kube-object.ts';

/** The selector of a workload as lists take it (`a=b,c in (d,e)`); undefined where it has none. */
export function selectorOf(workload: KubeObject): string | undefined {
  const selector = at(workload, 'spec', 'selector');
  const labels = at(selector, 'matchLabels');
  const expressions = at(selector, 'matchExpressions');
  const terms = [
    ...Object.entries(isRecord(labels) ? labels : {}).map(([key, value]) => `${key}=${String(value)}`),
    ...(Array.isArray(expressions) ? expressions.map(expressionText) : []),
  ];
  return terms.length > 0 ? terms.join(',') : undefined;
}

function expressionText(expression: unknown): string {
  const key = String(at(expression, 'key'));
  const values = at(expression, 'values');
  const list = `(${(Array.isArray(values) ? values : []).map(String).join(',')})`;
  switch (at(expression, 'operator')) {
    case 'In':
      return `${key} in ${list}`;
    case 'NotIn':
      return `${key} notin ${list}`;
    case 'DoesNotExist':
      return `!${key}`;
    default:
      return key;
  }
}

/** Whether `owner` is the controller of an object. */
export function isControlledBy(object: KubeObject, owner: KubeObject): boolean {
  const references = object.metadata['ownerReferences'];
  if (!Array.isArray(references)) return false;
  return references.some((one) => at(one, 'controller') === true && at(one, 'uid') === owner.metadata.uid);
}
