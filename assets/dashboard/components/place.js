// Where an agent works: the repository and the branch of its working directory, or the directory's name.

/** @import { Repository } from '../types.d.ts' */

import { element, setAttribute, setText, setTextOrHide } from '../dom.js';
import { state } from '../store.js';
import { folderName, oneLine, safeText } from '../safe_text.js';

const MAX_BRANCH = 120;

/**
 * Returns the branch that is checked out, or the commit.
 * @param {Repository | null | undefined} repository
 */
export function branchText(repository) {
  if (repository?.branch) return oneLine(repository.branch, MAX_BRANCH);
  return repository?.commit ? 'at ' + oneLine(repository.commit, 12) : '';
}

export function Place() {
  const name = element('span');
  const branch = element('span.branch');
  const root = element('p.place', name, branch);
  return {
    root,
    /** @param {string | undefined} workspace the working directory */
    set(workspace) {
      const repository = state.repositories.get(workspace || '');
      setText(name, repository ? oneLine(repository.name, 60) : folderName(workspace));
      setTextOrHide(branch, branchText(repository));
      const worktree = repository?.worktree ? `, worktree ${oneLine(repository.worktree, 60)}` : '';
      setAttribute(root, 'title', workspace ? safeText(workspace, 300) + worktree : null);
    }
  };
}
