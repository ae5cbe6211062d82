// Search: one query, its hits, and why they stand where they stand.

import { hitCard } from "../documents.js";
import { indexNames } from "../indexlist.js";
import { mountSearch } from "../searchpage.js";

const KIND = {
  title: "Search",
  lead: "By words and by meaning, with the reasons for each rank.",
  placeholder: 'words, "a phrase", -without, title:word',
  filterExample: 'section = "nature" AND rating >= 3',
  indexes: indexNames,
  highlight: { max_chars: 240 },
  hit: hitCard,
  none: {
    title: "There is no index yet",
    text: "Create one and load documents into it, then search here.",
    command: "gleaner index create indexes/articles.toml\ngleaner ingest articles sample/articles.parquet",
  },
};

export const page = { id: "search", title: "Search", icon: "search", mount: (root, context) => mountSearch(KIND, root, context) };
