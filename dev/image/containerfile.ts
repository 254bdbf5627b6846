/** The part of the Containerfile language that our Containerfile uses; anything else is an error, so that nothing is passed over. */
export type Instruction =
  | { readonly kind: 'arg'; readonly name: string; readonly preset: string | undefined }
  | { readonly kind: 'env' | 'label'; readonly name: string; readonly value: string }
  | { readonly kind: 'workdir' | 'user' | 'expose'; readonly value: string }
  | {
      readonly kind: 'copy';
      readonly from: string | undefined;
      readonly sources: readonly string[];
      readonly to: string;
    }
  | { readonly kind: 'run'; readonly command: string }
  | { readonly kind: 'entrypoint'; readonly command: readonly string[] };

export interface Stage {
  readonly base: string;
  readonly name: string;
  readonly instructions: readonly Instruction[];
}

export interface Containerfile {
  /** The arguments before the first stage, by name. */
  readonly args: Readonly<Record<string, string>>;
  readonly stages: readonly Stage[];
}

/** @throws {Error} naming the line that is not understood */
export function parseContainerfile(text: string): Containerfile {
  const args: Record<string, string> = {};
  const stages: { base: string; name: string; instructions: Instruction[] }[] = [];
  for (const line of linesOf(text)) {
    const [, word = '', rest = ''] = /^([A-Z]+)\s+(.*)$/s.exec(line) ?? [];
    const stage = stages.at(-1);
    if (word === 'FROM') {
      const [, base = '', name = String(stages.length)] = /^(\S+)(?:\s+AS\s+(\S+))?$/.exec(rest) ?? [];
      if (base === '') throw new Error(`The Containerfile has a line that is not understood: ${line}`);
      stages.push({ base: substitute(base, args), name, instructions: [] });
    } else if (stage) {
      stage.instructions.push(instructionOf(word, rest, line));
    } else {
      const found = instructionOf(word, rest, line);
      if (found.kind !== 'arg') throw new Error(`The Containerfile has a line before its first stage: ${line}`);
      args[found.name] = found.preset ?? '';
    }
  }
  return { args, stages };
}

/** Puts the values of arguments where their names are. */
export function substitute(text: string, values: Readonly<Record<string, string>>): string {
  return text.replaceAll(/\$\{(\w+)\}/g, (_, name: string) => {
    const value = values[name];
    if (value === undefined) throw new Error(`The Containerfile uses ${name}, which is not set.`);
    return value;
  });
}

function linesOf(text: string): string[] {
  const whole = text.replaceAll(/\\\n\s*/g, ' ');
  return whole.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('#'));
}

function instructionOf(word: string, rest: string, line: string): Instruction {
  switch (word) {
    case 'ARG': {
      const { name, value } = assignment(rest);
      return { kind: 'arg', name, preset: value };
    }
    case 'ENV':
    case 'LABEL': {
      const { name, value } = assignment(rest);
      if (value === undefined) break;
      return { kind: word === 'ENV' ? 'env' : 'label', name, value: value.replaceAll(/^"|"$/g, '') };
    }
    case 'WORKDIR':
      return { kind: 'workdir', value: rest };
    case 'USER':
      return { kind: 'user', value: rest };
    case 'EXPOSE':
      return { kind: 'expose', value: rest };
    case 'COPY': {
      const [, from, paths = ''] = /^(?:--from=(\S+)\s+)?([^-].*)$/.exec(rest) ?? [];
      const sources = paths.split(/\s+/);
      const to = sources.pop();
      if (to === undefined || sources.length === 0) break;
      return { kind: 'copy', from, sources, to };
    }
    case 'RUN':
      if (rest.startsWith('[') || rest.startsWith('-')) break;
      return { kind: 'run', command: rest };
    case 'ENTRYPOINT':
      return { kind: 'entrypoint', command: JSON.parse(rest) as readonly string[] };
  }
  throw new Error(`The Containerfile has a line that is not understood: ${line}`);
}

function assignment(text: string): { readonly name: string; readonly value: string | undefined } {
  const [, name = '', value] = /^([\w.]+)(?:=(.*))?$/.exec(text) ?? [];
  if (name === '') throw new Error(`The Containerfile has an assignment that is none: ${text}`);
  return { name, value };
}
