// The same classes as index.js: both may be used in one process.
export { Redlock as default, Redlock, Lock, ExecutionError, ResourceLockedError } from './index.js';
