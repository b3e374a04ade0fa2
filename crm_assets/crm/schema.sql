-- One CRM sandbox: eight tables, always empty between sessions.
-- Run by an administrator with the search_path on the sandbox's own schema; sessions connect as a role
-- that owns none of this. `seq` gives rows a stable order: now() is one value per transaction.

CREATE TABLE clients (
    client_id    uuid PRIMARY KEY,
    name         text NOT NULL CHECK (btrim(name) <> ''),
    industry     text,
    email        text,
    phone        text,
    address      text,
    status       text NOT NULL CHECK (status IN ('Active', 'Prospect', 'Inactive')),
    created_date timestamptz,
    owner        text,
    seq          bigint GENERATED ALWAYS AS IDENTITY
);

CREATE TABLE contacts (
    contact_id uuid PRIMARY KEY,
    first_name text NOT NULL,
    last_name  text NOT NULL,
    title      text,
    email      text,
    phone      text,
    client_id  uuid NOT NULL REFERENCES clients ON DELETE CASCADE,
    notes      text,
    seq        bigint GENERATED ALWAYS AS IDENTITY
);

CREATE TABLE opportunities (
    opportunity_id uuid PRIMARY KEY,
    client_id      uuid NOT NULL REFERENCES clients ON DELETE CASCADE,
    name           text NOT NULL,
    stage          text NOT NULL CHECK (stage IN ('Prospecting', 'Qualification', 'Proposal',
                                                  'Negotiation', 'Closed-Won', 'Closed-Lost')),
    amount         numeric(12, 2) NOT NULL CHECK (amount > 0 AND amount <= 10000000),
    close_date     date,
    owner          text,
    probability    integer CHECK (probability BETWEEN 1 AND 99),
    notes          text,
    created_at     timestamptz,
    seq            bigint GENERATED ALWAYS AS IDENTITY
);

CREATE TABLE quotes (
    quote_id       uuid PRIMARY KEY,
    opportunity_id uuid NOT NULL REFERENCES opportunities ON DELETE CASCADE,
    name           text,
    version        text,
    amount         numeric(12, 2) NOT NULL CHECK (amount > 0 AND amount <= 10000000),
    status         text NOT NULL CHECK (status IN ('Draft', 'Sent', 'Approved', 'Rejected',
                                                   'Canceled')),
    valid_until    date,
    created_date   timestamptz,
    quote_prefix   text,
    seq            bigint GENERATED ALWAYS AS IDENTITY
);

CREATE TABLE contracts (
    contract_id    uuid PRIMARY KEY,
    client_id      uuid NOT NULL REFERENCES clients ON DELETE CASCADE,
    opportunity_id uuid REFERENCES opportunities ON DELETE SET NULL,
    start_date     date,
    end_date       date,
    value          numeric(14, 2),
    status         text NOT NULL CHECK (status IN ('Active', 'Pending', 'Expired')),
    document_url   text,
    seq            bigint GENERATED ALWAYS AS IDENTITY
);

CREATE TABLE companies (
    company_id uuid PRIMARY KEY,
    name       text NOT NULL CHECK (btrim(name) <> ''),
    type       text NOT NULL CHECK (type IN ('Partner', 'Vendor', 'Competitor')),
    industry   text,
    address    text,
    contacts   text[] NOT NULL DEFAULT '{}',
    seq        bigint GENERATED ALWAYS AS IDENTITY
);

-- Documents and notes point at a row of the table that entity_type names, and outlive it.
CREATE TABLE documents (
    document_id uuid PRIMARY KEY,
    entity_type text NOT NULL CHECK (entity_type IN ('Opportunity', 'Contract', 'Quote', 'Client')),
    entity_id   uuid NOT NULL,
    file_name   text NOT NULL,
    uploaded_by text,
    uploaded_at timestamptz,
    file_url    text,
    seq         bigint GENERATED ALWAYS AS IDENTITY
);

CREATE TABLE notes (
    note_id     uuid PRIMARY KEY,
    entity_type text NOT NULL CHECK (entity_type IN ('Opportunity', 'Client', 'Contact', 'Quote',
                                                     'Contract')),
    entity_id   uuid NOT NULL,
    content     text NOT NULL,
    created_by  text,
    created_at  timestamptz,
    seq         bigint GENERATED ALWAYS AS IDENTITY
);
