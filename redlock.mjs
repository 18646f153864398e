// The same classes as redlock.js: both may be used in one process.
export {
  Redlock as default,
  Redlock,
  Lock,
  ExecutionError,
  ResourceLockedError,
} from './redlock.js';
