-- What administrators who type their names are called, encrypted under the keystore's key of the accounts. Holds and approvals
-- have their pseudonyms; names that earlier versions left there in clear are replaced when the node is opened.
create table administrators (
  id text primary key,                    -- pseudonym, as in the audit log
  name blob not null
);
